"""What a server says of itself: the page at `/`, and Prometheus' `/metrics`."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.live import Server, start_server, wait_for
from tests.protocol.upstream import BODIES, IMAGE, table, upstream
from tests.proxy.scripted import scripted
from tests.proxy.world import CONFIG, LAYER, digest


def metric(server: Server, pattern: str) -> float:
    """The sum of the samples whose line begins with a pattern."""
    text = server.request("GET", "/metrics").text
    return sum(float(value) for value in re.findall(rf"^{pattern}\S* ([\d.e+-]+)$", text, re.M))


def pull(server: Server) -> None:
    """One connection a request, so that both workers answer some."""
    path = "/v2/team/app/{}/{}?ns=up.site"
    for kind, reference in (
        ("manifests", "v1"),
        *(("blobs", d) for d in BODIES if d != digest(IMAGE)),
    ):
        answer = requests.get(server.url + path.format(kind, reference), timeout=30)
        assert answer.status_code == 200


@pytest.mark.files
def test_metrics_of_all_workers(tmp_path: Path, start: Callable[..., Server]) -> None:
    with scripted(upstream) as up:
        server = start(None, "--workers", "2", "--config", table(tmp_path, up.url))
        for _ in range(20):
            pull(server)
        for _ in range(4):
            server.request("GET", "/v2/a/manifests/v1?ns=down.site")
    blobs = 'method="GET",route="/v2/<name:name>/blobs/<digest>",status="200"'
    assert metric(server, rf"distserver_requests_total\{{{blobs}") == 40
    assert metric(server, "distserver_sent_bytes_total") > 20 * len(LAYER)
    saved = metric(server, r'distserver_saved_bytes_total\{upstream="up.site"')
    fetched = metric(server, r'distserver_upstream_bytes_total\{upstream="up.site"')
    assert len(LAYER) < fetched < 2 * len(LAYER)
    size = len(LAYER) + len(CONFIG)
    assert 19 * size <= saved <= 20 * size, "the first pull waited for its fetch, or came after it"
    assert metric(server, r'distserver_cache_requests_total\{kind="blob",result="miss"') == 2
    assert (
        metric(server, r'distserver_upstream_requests_total\{result="unavailable",upstream="down')
        == 3
    )
    assert metric(server, r'distserver_upstream_up\{upstream="up.site"') == 1
    assert metric(server, r'distserver_upstream_up\{upstream="down.site"') == 0
    assert metric(server, "distserver_upstream_last_contact_seconds") < 60
    assert metric(server, r'distserver_errors_total\{code="UNAVAILABLE"') == 4
    assert metric(server, "distserver_storage_up") == len(server.places)
    assert metric(server, "distserver_storage_free_bytes") > 0
    assert "team/app" not in server.request("GET", "/metrics").text


def test_metrics_begin_anew_with_the_server(tmp_path: Path, start: Callable[..., Server]) -> None:
    server = start(None, "--workers", "2")
    for _ in range(5):
        server.request("GET", "/v2/")
    assert metric(server, "distserver_requests_total") >= 5
    again = server.restart()
    try:
        assert metric(again, 'distserver_requests_total.method="GET",route="/v2/"') == 0
    finally:
        again.kill()


def base_requests(server: Server) -> float:
    return metric(server, 'distserver_requests_total.method="GET",route="/v2/"')


@pytest.fixture
def two(start: Callable[..., Server]) -> Iterator[tuple[Server, Server]]:
    """An old server that was asked thrice, and a new one on the same state."""
    old = start(None, "--workers", "1")
    for _ in range(3):
        old.request("GET", "/v2/")
    new = start_server(old.directory, "--workers", "1")
    try:
        yield old, new
    finally:
        new.kill()


def test_a_new_server_on_the_same_state_counts_for_itself(two: tuple[Server, Server]) -> None:
    old, new = two
    new.request("GET", "/v2/")
    assert (base_requests(old), base_requests(new)) == (3, 1)


def test_an_old_server_that_ends_takes_only_its_own_numbers(two: tuple[Server, Server]) -> None:
    old, new = two
    new.request("GET", "/v2/")
    assert old.stop() == 0
    before = new.workers()
    os.kill(new.pid, signal.SIGHUP)
    wait_for(lambda: new.workers() and not set(before) & set(new.workers()), 20, "new workers")
    new.session.close()
    new.request("GET", "/v2/")
    assert base_requests(new) == 2
    assert new.stop() == 0
    assert list(new.directory.glob("distserver-*")) == []


def test_what_a_killed_server_left_in_memory_goes_with_the_next(
    start: Callable[..., Server],
) -> None:
    killed = start(None, "--workers", "1")
    (left,) = killed.directory.glob("distserver-*")
    killed.kill()
    wait_for(lambda: not Path(f"/proc/{killed.pid}").exists(), 10, "end")
    again = killed.restart()
    try:
        (directory,) = again.directory.glob("distserver-*")
        assert directory != left
    finally:
        again.kill()


@pytest.mark.files
def test_the_page_tells_what_an_operator_asks(tmp_path: Path, start: Callable[..., Server]) -> None:
    with scripted(upstream) as up:
        server = start(None, "--workers", "2", "--config", table(tmp_path, up.url))
        pull(server)
        for _ in range(3):
            server.request("GET", "/v2/a/manifests/v1?ns=down.site")
        answer = server.request("GET", "/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for told in ("online", "free", "up.site", "answers", "down.site", "does not answer"):
        assert told in answer.text
    for told in ("it refuses connections", "up.site/team/app:v1", "Held: 1 repository"):
        assert told in answer.text


@pytest.mark.files
def test_the_page_is_there_while_the_storage_is_not(start: Callable[..., Server]) -> None:
    server = start()
    server.storage.rename(server.storage.with_name("elsewhere"))
    text = wait_for(
        lambda: "mounted" in (t := server.request("GET", "/").text) and t, 10, "alarm on the page"
    )
    assert "online" in text


@pytest.mark.parametrize("path", ["/", "/metrics"])
def test_only_who_may_pull_sees_it(path: str, tmp_path: Path, start: Callable[..., Server]) -> None:
    users = tmp_path / "users"
    users.write_text("bot:$2b$04$0123456789012345678901uM7cq3lIHBd3GgC9Lf5VYkyYyLk8WXa2:push\n")
    server = start(None, env={"DISTSERVER_USERS_FILE": str(users)})
    assert server.request("GET", path).status_code == 200
    assert server.request("GET", path, auth=("bot", "wrong")).status_code == 401


@pytest.mark.files
def test_what_is_damaged_is_told(start: Callable[..., Server]) -> None:
    server = start(None, "--workers", "1")
    assert metric(server, "distserver_damaged_entries") == 0
    page = server.request("GET", "/").text
    assert "nothing known to be damaged" in page
    state = server.directory / "state"
    wait_for(lambda: metric(server, "distserver_scrub_ended_timestamp_seconds"), 30, "first pass")
    known = {"damaged": 2, "images": ["a/<b>:v1"], "more_images": 3, "begun": time.time()}
    (state / "scrub.json").write_text(
        json.dumps({**known, "ended": 1.0, "last_seconds": 7.0, "last_bytes": 8})
    )
    page = server.request("GET", "/").text
    assert "2 entries are damaged or missing" in page and "and 3 more" in page
    assert "a/&lt;b&gt;:v1" in page
    assert metric(server, "distserver_scrub_last_seconds") == 7
    text = server.request("GET", "/metrics").text
    assert "distserver_scrub_last_bytes 8.0" in text and "a/<b>" not in text
