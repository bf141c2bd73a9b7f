"""Upload sessions belong to no process: kill, race and mix the servers that take their pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest
import requests

from tests.counts import count
from tests.faults.images import Answer, digest_of, live, make_image
from tests.figures import record
from tests.live import Server, start_server

RACES = count(15, 200)
FIRST, SECOND = make_image("first", 300_000).layer, make_image("second", 200_000).layer
Servers = list[Server]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Three servers over one storage."""
    with ExitStack() as stack:
        started = []
        for number in range(3):
            server = start_server(
                tmp_path / str(number), "--workers", "1", storage=tmp_path / "storage"
            )
            stack.callback(server.session.close)
            stack.callback(server.kill)
            started.append(server)
        yield started
        assert not any("Traceback" in server.log for server in started)


def test_a_session_outlives_every_server_that_served_it(servers: Servers, tmp_path: Path) -> None:
    a, b, c = servers
    where = live(a)("POST", "/v2/walk/blobs/uploads/").headers["Location"]
    a.kill()
    assert live(b)("PATCH", where, FIRST).status == 202
    b.kill()
    assert live(c)("GET", where).headers["Range"] == f"0-{len(FIRST) - 1}"
    assert live(c)("PATCH", where, SECOND).status == 202
    c.kill()
    again = start_server(tmp_path / "again", storage=tmp_path / "storage")
    try:
        digest = digest_of(FIRST + SECOND)
        assert live(again)("PUT", f"{where}?digest={digest}").status == 201
        assert live(again)("GET", f"/v2/walk/blobs/{digest}").body == FIRST + SECOND
    finally:
        again.kill()
        again.session.close()


def test_post_at_one_patch_at_another_put_at_the_third(servers: Servers) -> None:
    a, b, c = map(live, servers)
    where = a("POST", "/v2/mix/blobs/uploads/").headers["Location"]
    assert b("PATCH", where, FIRST).status == 202
    digest = digest_of(FIRST + SECOND)
    assert c("PUT", f"{where}?digest={digest}", SECOND).status == 201
    assert a("GET", f"/v2/mix/blobs/{digest}").body == FIRST + SECOND


def test_a_finished_session_is_unknown_to_all_and_its_put_can_be_repeated(
    servers: Servers,
) -> None:
    a, b, c = map(live, servers)
    where = a("POST", "/v2/done/blobs/uploads/").headers["Location"]
    put = f"{where}?digest={digest_of(FIRST)}"
    assert b("PUT", put, FIRST).status == 201
    assert c("PATCH", where, SECOND).status == 404
    assert c("GET", where).status == 404
    assert c("PUT", put).status == 201


def test_sessions_unknown_and_of_another_repository_are_404(servers: Servers) -> None:
    a, b, _ = map(live, servers)
    where = a("POST", "/v2/mine/blobs/uploads/").headers["Location"]
    for path in (where.replace("/mine/", "/other/"), where[:-32] + "0" * 32, where + "x"):
        for method in ("GET", "PATCH", "DELETE"):
            assert b(method, path, FIRST if method == "PATCH" else b"").status == 404
        assert b("PUT", f"{path}?digest={digest_of(FIRST)}", FIRST).status == 404
    assert b("GET", where).status == 204


def test_two_patches_of_one_range_never_both_count(servers: Servers) -> None:
    wins = [0, 0, 0]
    for number in range(RACES):
        start = live(servers[2])("POST", f"/v2/race/patch{number}/blobs/uploads/")
        where = start.headers["Location"]
        bodies = [make_image(f"{number} {side}", 50_000).layer for side in "ab"]
        answers = _race(
            servers, [("PATCH", where, body, {"Content_Range": "0-49999"}) for body in bodies]
        )
        won = [body for body, answer in zip(bodies, answers, strict=True) if answer.status == 202]
        assert {answer.status for answer in answers} <= {202, 416}
        assert len(won) <= 1
        wins[len(won)] += 1
        _finishes(servers[2], f"race/patch{number}", where, won[0] if won else b"")
    record(
        "R-15",
        f"two PATCHes of one range at two servers, {RACES} races",
        "at most one is acknowledged; the session goes on from what was",
        f"{wins[1]} races had one winner, {wins[0]} none, {wins[2]} two",
    )


def test_two_puts_on_one_session_never_publish_wrong_bytes(servers: Servers) -> None:
    for number in range(RACES):
        name = f"race/put{number}"
        where = live(servers[2])("POST", f"/v2/{name}/blobs/uploads/").headers["Location"]
        bodies = [make_image(f"{number} put {side}", 50_000).layer for side in "ab"]
        answers = _race(servers, [("PUT", f"{where}?digest={digest_of(b)}", b, {}) for b in bodies])
        assert {answer.status for answer in answers} <= {201, 400, 404, 416}
        for body, answer in zip(bodies, answers, strict=True):
            got = live(servers[2])("GET", f"/v2/{name}/blobs/{digest_of(body)}")
            assert (got.status, got.body) == (200, body) if answer.status == 201 else True
            assert got.status in (200, 404)


def _race(
    servers: Servers, requests_: list[tuple[str, str, bytes, dict[str, str]]]
) -> list[Answer]:
    """Send one request to each of two servers at the same moment."""
    barrier = Barrier(2)

    def send(server: Server, request: tuple[str, str, bytes, dict[str, str]]) -> Answer:
        method, path, body, headers = request
        mine = replace(server, session=requests.Session())
        barrier.wait(30)
        try:
            return live(mine)(method, path, body, **headers)
        finally:
            mine.session.close()

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(send, servers[:2], requests_))


def _finishes(server: Server, name: str, where: str, held: bytes) -> None:
    """The session holds exactly what was acknowledged, and can be finished."""
    call: Callable[..., Answer] = live(server)
    held_range = call("GET", where).headers["Range"]
    assert held_range == (f"0-{len(held) - 1}" if held else "0-0"), (held_range, len(held))
    digest = digest_of(held + SECOND)
    assert call("PUT", f"{where}?digest={digest}", SECOND).status == 201
    assert call("GET", f"/v2/{name}/blobs/{digest}").body == held + SECOND
