"""Several base URLs of one upstream: asked in order, left alone while they fail, tried again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from distserver.metrics import Metrics
from distserver.oci.digests import Digest
from distserver.oci.names import Tag
from distserver.proxy.upstream import breaker, uplink
from distserver.proxy.upstream.breaker import Breaker
from distserver.proxy.upstream.errors import (
    UpstreamAbsent,
    UpstreamLate,
    UpstreamLied,
    UpstreamOffline,
    UpstreamPage,
    UpstreamUnavailable,
)
from distserver.proxy.upstream.limits import limits_of
from distserver.proxy.upstream.mode import Mode
from distserver.proxy.upstream.registry import UpstreamRegistry
from distserver.proxy.upstream.seats import Seats
from distserver.proxy.upstream.table import Upstream
from distserver.proxy.upstream.uplink import Place, Uplink
from tests.live import wait_for
from tests.proxy.scripted import Asked, Reply, Scripted, a_session, client, scripted

LATEST = Tag("latest")
D = Digest.of(b"x")
GOOD: Reply = (200, {"Docker-Content-Digest": str(D)}, b"")
Make = Callable[..., tuple[Uplink, list[Scripted]]]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """An uplink to upstreams that answer as the scripts say."""
    with ExitStack() as stack:
        session: requests.Session = stack.enter_context(a_session())

        def go(*scripts: Callable[[Asked], Reply]) -> tuple[Uplink, list[Scripted]]:
            running = [stack.enter_context(scripted(script)) for script in scripts]
            return an_uplink(tmp_path, session, [one.url for one in running]), running

        yield go


def an_uplink(state: Path, session: requests.Session, urls: list[str]) -> Uplink:
    upstream = Upstream("up.site", tuple(urls))
    places = [
        Place(client(session, url), Breaker(state / f"{n}.json")) for n, url in enumerate(urls)
    ]
    limits = limits_of(state, "up.site", 8, 0, Seats(100))
    return Uplink(upstream, places, limits, Mode(state, "online"), Metrics())


def resolve(registry: UpstreamRegistry) -> Digest | None:
    return registry.resolve("a", LATEST)


def answering(status: int, **headers: str) -> Callable[[Asked], Reply]:
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    return lambda _: (status, sent, b"")


def test_mirrors_are_tried_in_order(make: Make) -> None:
    found, (first, second) = make(answering(503), lambda _: GOOD)
    assert found.ask(resolve) == D
    assert len(first.asked) == len(second.asked) == 1


@pytest.mark.parametrize("order", [(404, 503), (503, 404)])
def test_absent_is_only_what_every_mirror_says(make: Make, order: tuple[int, int]) -> None:
    found, _ = make(answering(order[0]), answering(order[1]))
    with pytest.raises(UpstreamUnavailable):
        found.ask(resolve)
    found, _ = make(answering(404), answering(404))
    with pytest.raises(UpstreamAbsent):
        found.ask(resolve)


def test_a_silent_mirror_leaves_time_for_the_next(make: Make) -> None:
    go = threading.Event()

    def silent(_: Asked) -> Reply:
        go.wait(20)
        return GOOD

    found, _ = make(silent, lambda _: GOOD)
    assert found.ask(resolve, 1.0) == D
    go.set()


def test_PT_04_three_failures_and_it_is_left_alone(make: Make) -> None:
    found, (upstream,) = make(answering(503))
    for _ in range(20):
        with pytest.raises(UpstreamUnavailable):
            found.ask(resolve)
    assert len(upstream.asked) == 3
    with pytest.raises(UpstreamUnavailable, match="not asked again yet; last time: .*503"):
        found.ask(resolve)


def test_PT_04_one_retry_after_is_enough(make: Make) -> None:
    found, (upstream,) = make(answering(429, Retry_After="60"))
    for _ in range(5):
        with pytest.raises(UpstreamUnavailable):
            found.ask(resolve)
    assert len(upstream.asked) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_PT_04_nobody_is_left_alone_for_as_long_as_he_likes(make: Make, status: int) -> None:
    found, _ = make(answering(status, Retry_After="3600"))
    with pytest.raises(UpstreamUnavailable):
        found.ask(resolve)
    left = found.places[0].breaker.state().until - time.monotonic()
    assert 55 < left <= 60


@pytest.mark.parametrize("status", [404, 403])
def test_an_answer_is_no_failure(make: Make, status: int) -> None:
    found, (upstream,) = make(answering(status))
    for _ in range(5):
        with pytest.raises(Exception, match=str(status)):
            found.ask(resolve)
    assert len(upstream.asked) == 5
    assert found.answers()


def test_after_a_pause_one_tries_again_and_the_rest_go_on(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever tries does not wait for a slow upstream either; its answer closes the breaker."""
    monkeypatch.setattr(breaker, "FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(uplink, "TRY_SECONDS", 0.1)
    works, go = threading.Event(), threading.Event()

    def script(_: Asked) -> Reply:
        if not works.is_set():
            return 503, {}, b""
        go.wait(20)
        return GOOD

    found, (upstream,) = make(script)
    for _ in range(3):
        with pytest.raises(UpstreamUnavailable):
            found.ask(resolve)
    works.set()
    wait_for(lambda: found.places[0].breaker.state().until < time.monotonic(), 5, "end of pause")
    for _ in range(10):
        with pytest.raises(UpstreamUnavailable, match="not asked again"):
            found.ask(resolve)
    assert len(upstream.asked) == 4
    go.set()
    wait_for(found.places[0].breaker.closed, 10, "closed breaker")
    assert found.ask(resolve) == D


def test_another_process_sees_what_this_one_learnt(make: Make, tmp_path: Path) -> None:
    found, (upstream,) = make(answering(503))
    for _ in range(3):
        with pytest.raises(UpstreamUnavailable):
            found.ask(resolve)
    other = Breaker(tmp_path / "0.json")
    assert not other.closed()
    assert not other.allows()
    assert "503" in other.state().error


def test_PT_05_offline_asks_nobody(make: Make, tmp_path: Path) -> None:
    found, (upstream,) = make(lambda _: GOOD)
    Mode(tmp_path, "online").switch("offline")
    with pytest.raises(UpstreamOffline):
        found.ask(resolve)
    assert upstream.asked == []
    Mode(tmp_path, "online").switch(None)
    assert found.ask(resolve) == D


def test_PT_05_a_switch_between_the_look_at_the_mode_and_the_question(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, (upstream,) = make(lambda _: GOOD)
    monkeypatch.setattr(uplink.WIRE, "allow", lambda: Mode(tmp_path, "online").switch("offline"))
    with pytest.raises(UpstreamOffline):
        found.ask(resolve)
    assert upstream.asked == []


def test_what_sent_wrong_bytes_is_avoided(make: Make) -> None:
    found, (first, second) = make(lambda _: GOOD, lambda _: GOOD)
    lie = UpstreamLied("other bytes")
    found.distrust(D, first.url, lie)
    assert found.distrusted(D) == {first.url: lie}
    assert found.ask(resolve, avoid=found.distrusted(D)) == D
    assert first.asked == []
    assert len(second.asked) == 1


def test_who_waited_in_vain_is_remembered_until_it_answers(make: Make) -> None:
    """Also while it is left alone: who comes then joins a question that began before."""
    script = [answering(503)]
    found, _ = make(lambda asked: script[0](asked))
    for _ in range(uplink.OVERRUNS):
        assert found.worth_waiting_for()
        found.overran()
    assert not found.worth_waiting_for()
    for _ in range(breaker.THRESHOLD):
        with pytest.raises(UpstreamUnavailable):
            found.ask(resolve)
    assert not found.worth_waiting_for()
    script[0] = lambda _: GOOD
    with pytest.raises(UpstreamUnavailable):
        found.ask(resolve)  # it is left alone yet
    found.places[0].breaker.succeeded()
    assert found.worth_waiting_for()


def test_a_web_page_says_nothing_of_an_upstream(make: Make) -> None:
    """Of a portal, or of a registry that tells people that a tag is not there."""
    page = (404, {"Content-Type": "text/html"}, b"<html>not found</html>")
    found, (upstream,) = make(lambda _: page)
    for _ in range(5):
        with pytest.raises(UpstreamPage):
            found.ask(lambda registry: registry.manifest("a", LATEST))
    assert len(upstream.asked) == 5


def test_who_stops_waiting_says_nothing_of_the_upstream(make: Make) -> None:
    """Over a slow link an answer takes longer than a client waits; the next one joins it."""
    go = threading.Event()

    def slow(_: Asked) -> Reply:
        go.wait(10)
        return GOOD

    found, (upstream,) = make(slow)
    for _ in range(4):
        with pytest.raises(UpstreamLate):
            found.ask_soon("v1", resolve, 0.05)
    assert len(upstream.asked) == 1
    go.set()
    assert found.ask_soon("v1", resolve, 10) == D
    assert found.places[0].breaker.closed()


def test_what_our_code_stumbles_over_is_unavailable(make: Make) -> None:
    found, _ = make(lambda _: GOOD)

    def stumble(_: UpstreamRegistry) -> Digest:
        raise ValueError("a port that is none")

    with pytest.raises(UpstreamUnavailable, match="not understood"):
        found.ask(stumble)
