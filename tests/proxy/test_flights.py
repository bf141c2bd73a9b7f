"""One fetch for many readers: of one process, of several, over deaths of the fetcher."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backends import Filesystem, Memory, initialise
from backends.base import Backend
from backends.errors import Unavailable
from distserver.oci.digests import Digest
from distserver.proxy import fetch, flights
from distserver.proxy.fetch import Patience
from distserver.proxy.flights import Flights, Wanted
from distserver.proxy.partial import Partial
from distserver.proxy.upstream_errors import UpstreamAbsent, UpstreamUnavailable
from distserver.registry.content import Content
from tests.live import wait_for

DATA = random.Random(4).randbytes(5_000_000)
D = Digest.of(DATA)


class Upstream:
    """Gives the blob out; `gate` holds it back before a byte until it is set."""

    def __init__(self, data: bytes = DATA) -> None:
        self.data, self.size = data, len(data)
        self.opened: list[int] = []
        self.held_at, self.gate = len(data) + 1, threading.Event()

    def open(self, start: int) -> Upstream:
        self.opened.append(start)
        body = Upstream(self.data)
        body.start, body.at = start, start
        body.held_at, body.gate = self.held_at, self.gate
        return body

    def read(self, n: int) -> bytes:
        if min(self.at + n, len(self.data)) > self.held_at:
            assert self.gate.wait(20)
        part = self.data[self.at : self.at + n]
        self.at += len(part)
        return part

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *exc: object) -> None:
        return


@pytest.fixture(params=["adopted", "copied"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """A storage on the partial's file system, and one that has to copy."""
    if request.param == "copied":
        return Memory()
    (tmp_path / "storage").mkdir()
    made = Filesystem(str(tmp_path / "storage"), reserve_bytes=0)
    initialise(made)
    return made


@pytest.fixture
def content(backend: Backend) -> Content:
    return Content(backend)


def wanted(tmp_path: Path, upstream: Upstream) -> Wanted:
    return Wanted(D, tmp_path / "state/partial/x", upstream.open)  # type: ignore[arg-type]


def _read(flights_: Flights, want: Wanted, start: int = 0, stop: int = len(DATA)) -> bytes:
    with flights_.open(want, start, stop) as reader:
        return reader.read()


def test_many_readers_one_fetch(tmp_path: Path, content: Content) -> None:
    upstream = Upstream()
    want, mine = wanted(tmp_path, upstream), Flights(content)
    others = [mine, mine, Flights(content), Flights(content)]  # as other processes would have
    with ThreadPoolExecutor(16) as pool:
        bodies = list(pool.map(lambda n: _read(others[n % 4], want), range(16)))
    assert all(body == DATA for body in bodies)
    assert upstream.opened == [0]
    assert mine.published(D)
    wait_for(lambda: not want.directory.exists(), 10, "end of the partial")


def test_bytes_are_handed_on_as_they_come(tmp_path: Path, content: Content) -> None:
    upstream = Upstream()
    upstream.held_at = 2_000_000
    with Flights(content).open(wanted(tmp_path, upstream), 0, len(DATA)) as reader:
        first = b""
        while len(first) < 1_500_000:
            first += reader.read(100_000)
        assert not upstream.gate.is_set()
        assert DATA.startswith(first)
        upstream.gate.set()
        assert first + reader.read() == DATA


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 10), (4_000_000, 4_000_010), (4_990_000, 5_000_000)]
)
def test_ranges_of_a_cold_blob(tmp_path: Path, content: Content, start: int, stop: int) -> None:
    assert _read(Flights(content), wanted(tmp_path, Upstream()), start, stop) == DATA[start:stop]


def test_a_wrong_body_is_never_completed_nor_stored(tmp_path: Path, content: Content) -> None:
    mine = Flights(content)
    received = b""
    upstream = Upstream(DATA[:-1] + b"x")
    upstream.held_at = 1_000_000
    want = wanted(tmp_path, upstream)
    with mine.open(want, 0, len(DATA)) as reader, pytest.raises(Unavailable, match="digest"):
        upstream.gate.set()
        while data := reader.read(1 << 20):
            received += data
    assert len(received) <= len(DATA) - (64 << 10)
    assert not mine.published(D)


def test_absent_is_told_as_absent(tmp_path: Path, content: Content) -> None:
    def absent(start: int) -> Upstream:
        raise UpstreamAbsent("404")

    want = Wanted(D, tmp_path / "p", absent)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(UpstreamAbsent):
            Flights(content).size(want)


def test_a_reader_takes_over_when_the_fetcher_is_gone(tmp_path: Path, content: Content) -> None:
    """Its lock is free and nothing is published: the next poll of a reader fetches on."""
    upstream = Upstream()
    want = wanted(tmp_path, upstream)
    lock = Partial(want.directory).try_lock()
    assert lock
    with lock:
        with lock.writer("sha256") as writer:
            writer.append(DATA[:1_000_000])
        lock.set_size(len(DATA))
        reader = Flights(content).open(want, 0, len(DATA))
        assert reader.read(500_000) == DATA[:500_000]
        assert upstream.opened == []
    with reader:
        assert reader.read() == DATA[500_000:]
    assert len(upstream.opened) == 1


def test_a_client_that_leaves_does_not_end_the_fetch(tmp_path: Path, content: Content) -> None:
    upstream, mine = Upstream(), Flights(content)
    upstream.held_at = 1_000_000
    mine.open(wanted(tmp_path, upstream), 0, len(DATA)).close()
    upstream.gate.set()
    wait_for(lambda: mine.published(D), 10, "published blob")


def test_a_stall_ends_the_reader_not_the_bytes(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flights, "STALL_SECONDS", 0.2)
    upstream = Upstream()
    upstream.held_at = 1_000_000
    want = wanted(tmp_path, upstream)
    with Flights(content).open(want, 0, len(DATA)) as reader, pytest.raises(Unavailable):
        reader.read()
    assert Partial(want.directory).available() > 500_000
    upstream.gate.set()


def test_an_upstream_that_never_answers_has_a_deadline(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flights, "FIRST_SECONDS", 0.2)
    monkeypatch.setattr(fetch, "FIRST_PAUSE_SECONDS", 0.01)

    def broken(start: int) -> Upstream:
        raise UpstreamUnavailable("it does not answer")

    mine = Flights(content)
    mine.patience = Patience(threading.Event(), 0.1)
    with pytest.raises(UpstreamUnavailable):
        mine.size(Wanted(D, tmp_path / "p", broken))  # type: ignore[arg-type]
