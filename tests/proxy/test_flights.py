"""One fetch for many readers: of one process, of several, over deaths of the fetcher."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from backends import Filesystem, Memory, initialise
from backends.base import Backend
from backends.errors import Full, Unavailable
from distserver.oci.digests import Digest
from distserver.proxy.fetching import cold, fetch, flights, uncached
from distserver.proxy.fetching.cold import ColdReader
from distserver.proxy.fetching.flights import Flights
from distserver.proxy.fetching.partial import Lock, Partial
from distserver.proxy.fetching.room import NoRoom, Room
from distserver.proxy.fetching.uncached import Uncached
from distserver.proxy.fetching.wanted import Wanted
from distserver.proxy.upstream.errors import (
    UpstreamAbsent,
    UpstreamBusy,
    UpstreamLied,
    UpstreamUnavailable,
)
from distserver.proxy.upstream.limits import limits_of
from distserver.proxy.upstream.seats import Seats
from distserver.registry.content import Content
from distserver.registry.verified import HOLD_BACK_BYTES
from tests.live import wait_for

DATA = random.Random(4).randbytes(5_000_000)
D = Digest.of(DATA)


class Upstream:
    """An Origin that gives the blob out; `gate` holds it back before byte `held_at` until set."""

    def __init__(self, data: bytes = DATA) -> None:
        self.data, self.size = data, len(data)
        self.opened: list[int] = []
        self.held_at, self.gate = len(data) + 1, threading.Event()
        self.error: Exception | None = None

    def open(self, start: int, stall_seconds: float = 30.0) -> Upstream:
        self.opened.append(start)
        if self.error:
            raise self.error
        body = Upstream(self.data)
        body.start, body.at = start, start
        body.held_at, body.gate = self.held_at, self.gate
        return body

    def blame(self, mixed: bool) -> None:
        self.error = UpstreamLied("its digest is wrong")

    def read(self, n: int) -> bytes:
        if not self.gate.is_set() and self.held_at <= len(self.data):
            if self.at >= self.held_at:
                assert self.gate.wait(20)
            else:
                n = min(n, self.held_at - self.at)
        part = self.data[self.at : self.at + n]
        self.at += len(part)
        return part

    def close(self) -> None:
        """Nothing to close."""

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


def process(tmp_path: Path, content: Content, **more: object) -> Flights:
    """The flights of one process of a node whose state is tmp_path/state."""
    options = {"room": Room(tmp_path / "state/partial", 1 << 40, 0), "stopped": lambda: False}
    return Flights(content, **{**options, **more})  # type: ignore[arg-type]


def wanted(tmp_path: Path, upstream: Upstream, seats: int = 100) -> Wanted:
    limits = limits_of(tmp_path / "state", "up", 8, 0, Seats(seats))
    directory = tmp_path / "state/partial/up/x"
    return Wanted(D, directory, upstream, limits)  # type: ignore[arg-type]


def follow(flights_: Flights, want: Wanted, start: int = 0, stop: int | None = None) -> ColdReader:
    since = time.monotonic()
    size = flights_.find_size(want, since)
    return ColdReader(flights_, want, size, since, start, stop)


def take(reader: ColdReader, count: int) -> bytes:
    """Read exactly so many bytes."""
    data = b""
    while len(data) < count:
        data += reader.read(count - len(data))
    return data


def _read(flights_: Flights, want: Wanted, start: int = 0, stop: int | None = None) -> bytes:
    with follow(flights_, want, start, stop) as reader:
        return reader.read()


def test_many_readers_one_fetch(tmp_path: Path, content: Content) -> None:
    upstream = Upstream()
    want = wanted(tmp_path, upstream)
    processes = [process(tmp_path, content) for _ in range(3)]
    with ThreadPoolExecutor(16) as pool:
        bodies = list(pool.map(lambda n: _read(processes[n % 3], want), range(16)))
    assert all(body == DATA for body in bodies)
    assert upstream.opened == [0]
    assert processes[0].stored_size(D) == len(DATA)
    wait_for(lambda: not want.directory.exists(), 10, "end of the partial")


def test_bytes_are_handed_on_as_they_come(tmp_path: Path, content: Content) -> None:
    upstream = Upstream()
    upstream.held_at = 2_000_000
    with follow(process(tmp_path, content), wanted(tmp_path, upstream)) as reader:
        first = b""
        while len(first) < 1_500_000:
            first += reader.read(100_000)
        assert not upstream.gate.is_set()
        assert DATA.startswith(first)
        upstream.gate.set()
        assert first + reader.read() == DATA


def test_a_reader_that_went_over_to_the_stored_blob_stays_there(
    tmp_path: Path, content: Content
) -> None:
    """Its place there would not follow what it reads of the partial meanwhile."""
    upstream = Upstream()
    upstream.held_at = 1_000_000
    want = wanted(tmp_path, upstream)
    with follow(process(tmp_path, content), want) as reader:
        received = take(reader, 1_000_000)
        content.put(D, [DATA])
        received += take(reader, 100_000)
        upstream.gate.set()
        wait_for(lambda: not want.directory.exists(), 10, "end of the partial")
        assert received + reader.read() == DATA


@pytest.mark.parametrize("held_at", [3_000_000, len(DATA)])
def test_wrong_bytes_are_not_joined_to_a_blob_that_came_another_way(
    tmp_path: Path, content: Content, held_at: int
) -> None:
    """All of them may be there: the fetch waits, or was killed, just before it proves them."""
    upstream = Upstream(DATA[:1000] + b"!" + DATA[1001:])
    upstream.held_at = held_at
    received = b""
    with follow(process(tmp_path, content), wanted(tmp_path, upstream)) as reader:
        received += take(reader, min(held_at, len(DATA) - HOLD_BACK_BYTES))
        content.put(D, [DATA])
        with pytest.raises(Unavailable, match="not those of"):
            while data := reader.read(1 << 20):
                received += data
    upstream.gate.set()
    assert len(received) < len(DATA)


def test_the_usual_going_over_to_the_stored_blob_reads_nothing_twice(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ColdReader, "_proof_so_far", lambda _: pytest.fail("hashed again"))
    upstream = Upstream()
    upstream.held_at = 1_000_000
    want = wanted(tmp_path, upstream)
    with follow(process(tmp_path, content), want) as reader:
        received = take(reader, 1_000_000)
        upstream.gate.set()
        wait_for(lambda: not want.directory.exists(), 10, "end of the partial")
        assert received + reader.read() == DATA


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 10), (4_000_000, 4_000_010), (4_990_000, 5_000_000)]
)
def test_ranges_of_a_cold_blob(tmp_path: Path, content: Content, start: int, stop: int) -> None:
    mine = process(tmp_path, content)
    assert _read(mine, wanted(tmp_path, Upstream()), start, stop) == DATA[start:stop]


def test_a_wrong_body_is_never_completed_nor_stored(tmp_path: Path, content: Content) -> None:
    mine = process(tmp_path, content)
    received = b""
    upstream = Upstream(DATA[:-1] + b"x")
    upstream.held_at = 1_000_000
    want = wanted(tmp_path, upstream)
    with follow(mine, want) as reader, pytest.raises(Unavailable, match="wrong"):
        upstream.gate.set()
        while data := reader.read(1 << 20):
            received += data
    assert len(received) <= len(DATA) - (64 << 10)
    assert mine.stored_size(D) is None
    with pytest.raises(UpstreamLied):
        follow(mine, want)


def test_absent_is_told_as_absent(tmp_path: Path, content: Content) -> None:
    upstream = Upstream()
    upstream.error = UpstreamAbsent("404")
    for _ in range(2):
        with pytest.raises(UpstreamAbsent):
            follow(process(tmp_path, content), wanted(tmp_path, upstream))


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
        reader = follow(process(tmp_path, content), want)
        assert take(reader, 500_000) == DATA[:500_000]
        assert upstream.opened == []
    with reader:
        assert reader.read() == DATA[500_000:]
    assert upstream.opened == [1_000_000]


def test_a_fetcher_that_stands_still_is_passed_by(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped, not dead: it keeps its lock. The end still waits for a proof: the reader's own."""
    monkeypatch.setattr(cold, "STILL_SECONDS", 0.1)
    upstream = Upstream()
    want = wanted(tmp_path, upstream)
    lock = Partial(want.directory).try_lock()
    assert lock
    with lock:
        with lock.writer("sha256") as writer:
            writer.append(DATA[:1_000_000])
        lock.set_size(len(DATA))
        reader, received = follow(process(tmp_path, content), want), b""
        while len(received) < len(DATA) - (64 << 10):
            received += reader.read(100_000)
        assert upstream.opened == [1_000_000]
    with reader:
        assert received + reader.read() == DATA


def test_wrong_bytes_past_the_partial_are_never_completed(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold, "STILL_SECONDS", 0.1)
    want, mine = wanted(tmp_path, Upstream(b"x" + DATA[1:])), process(tmp_path, content)
    lock = Partial(want.directory).try_lock()
    assert lock
    with lock:
        lock.set_size(len(DATA))
        reader = follow(mine, want)
        received = take(reader, 2_000_000)
        want.origin.data = DATA  # type: ignore[attr-defined]
    with reader, pytest.raises(Unavailable):
        while data := reader.read(1 << 20):
            received += data
    assert len(received) < len(DATA)


def test_an_upstream_without_ranges_is_not_asked_for_a_far_range_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take as long each time; what is near is passed over."""
    upstream = Upstream()
    open_at: Callable[[int], Upstream] = upstream.open
    upstream.open = lambda start, stall=0.0: open_at(0 * start)  # type: ignore[method-assign]
    monkeypatch.setattr(uncached, "PAUSE_SECONDS", 0.0)
    own = Uncached(wanted(tmp_path, upstream))
    assert own.read(3_000_000, 9, beside=False) == DATA[3_000_000:3_000_009]
    monkeypatch.setattr(uncached, "SKIP_SECONDS", -1.0)
    with pytest.raises(UpstreamUnavailable, match="ignores ranges"):
        own.read(4_000_000, 9, beside=False)
    assert own.read(4_000_000, 9, beside=False) == b""


def test_a_first_byte_that_must_wait_for_its_proof_is_not_waited_for_without_end(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small blob that is not kept is held back whole, and its upstream drips."""
    late = 0.0
    dripping = Upstream(DATA[:2000])
    read_: Callable[[int], bytes] = dripping.read

    def drip(n: int) -> bytes:
        nonlocal late
        late += 1.0
        return read_(min(n, 1))

    def open_(start: int, stall_seconds: float = 0.0) -> Upstream:
        dripping.start = dripping.at = start
        return dripping

    dripping.read, dripping.open = drip, open_  # type: ignore[method-assign]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + late, sleep=time.sleep)
    monkeypatch.setattr(cold, "time", clock)
    full = process(tmp_path, content, room=Room(tmp_path / "state/partial", 1000, 0))
    like = wanted(tmp_path, dripping)
    want = Wanted(Digest.of(DATA[:2000]), like.directory, like.origin, like.limits)
    with pytest.raises(UpstreamUnavailable, match="drips"):
        follow(full, want)
    assert late < 100


def test_a_partial_that_cannot_be_read_has_no_bytes(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader goes on with the stored blob; what went out cannot be proved, so it is cut."""

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    upstream = Upstream()
    upstream.held_at = 1_000_000
    with follow(process(tmp_path, content), wanted(tmp_path, upstream)) as reader:
        take(reader, 1_000_000)
        monkeypatch.setattr(os, "pread", broken)
        content.put(D, [DATA])
        with pytest.raises(Unavailable, match="read again"):
            reader.read(1)
    upstream.gate.set()


def test_a_client_that_leaves_does_not_end_the_fetch(tmp_path: Path, content: Content) -> None:
    upstream, mine = Upstream(), process(tmp_path, content)
    upstream.held_at = 1_000_000
    follow(mine, wanted(tmp_path, upstream)).close()
    upstream.gate.set()
    wait_for(lambda: mine.stored_size(D), 10, "published blob")


def test_a_stall_ends_the_reader_not_the_bytes(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold, "STALL_SECONDS", 0.2)
    upstream = Upstream()
    upstream.held_at = 1_000_000
    want = wanted(tmp_path, upstream)
    with follow(process(tmp_path, content), want) as reader, pytest.raises(Unavailable):
        reader.read()
    assert Partial(want.directory).available() > 500_000
    upstream.gate.set()


def test_where_nothing_comes_nothing_is_promised(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resume at the end of what is here is refused, not answered 206 and cut."""
    monkeypatch.setattr(fetch, "GIVE_UP_SECONDS", 0.1)
    upstream, mine = Upstream(), process(tmp_path, content)
    want = wanted(tmp_path, upstream)
    lock = Partial(want.directory).try_lock()
    assert lock
    with lock:
        with lock.writer("sha256") as writer:
            writer.append(DATA[:1_000_000])
        lock.set_size(len(DATA))
    upstream.error = UpstreamUnavailable("it refuses connections")
    with pytest.raises(UpstreamUnavailable, match="refuses"):
        follow(mine, want, 1_000_000)
    with follow(mine, want, 900_000) as reader:
        assert take(reader, 100_000) == DATA[900_000:1_000_000]
        with pytest.raises(Unavailable):
            reader.read(1)


def test_no_more_readers_than_may_wait(tmp_path: Path, content: Content) -> None:
    upstream = Upstream()
    upstream.held_at = 1_000_000
    mine, want = process(tmp_path, content), wanted(tmp_path, upstream, seats=2)
    readers = [follow(mine, want), follow(mine, want)]
    with pytest.raises(UpstreamBusy):
        follow(mine, want)
    for reader in readers:
        reader.close()
    upstream.gate.set()
    assert _read(mine, want) == DATA


def test_without_a_thread_to_fetch_it_is_refused_and_the_next_one_fetches(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_: object) -> None:
        raise RuntimeError("can't start new thread")

    mine, want = process(tmp_path, content), wanted(tmp_path, Upstream())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        with pytest.raises(UpstreamBusy, match="no thread"):
            follow(mine, want)
    assert _read(mine, want) == DATA


def test_a_fault_of_ours_is_told_once_and_not_tried_at_each_poll(
    tmp_path: Path, content: Content, caplog: pytest.LogCaptureFixture
) -> None:
    upstream, mine = Upstream(), process(tmp_path, content)
    upstream.error = ZeroDivisionError("nobody foresaw it")
    with pytest.raises(UpstreamUnavailable, match="ZeroDivisionError, see the log"):
        follow(mine, wanted(tmp_path, upstream))
    assert upstream.opened == [0]
    assert sum(record.exc_info is not None for record in caplog.records) == 1


def test_a_partial_that_cannot_be_removed_is_told_as_one_that_cannot_be_kept(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Lock, "set_size", broken)
    monkeypatch.setattr(Lock, "remove", broken)
    upstream = Upstream()
    assert _read(process(tmp_path, content), wanted(tmp_path, upstream)) == DATA
    assert len(upstream.opened) < 5


@pytest.mark.parametrize(("start", "stop"), [(0, None), (1_000, 2_000_000), (4_990_000, None)])
def test_without_room_it_is_handed_on_and_not_kept(
    tmp_path: Path, content: Content, start: int, stop: int | None
) -> None:
    upstream = Upstream()
    full = process(tmp_path, content, room=Room(tmp_path / "state/partial", 1_000_000, 0))
    want = wanted(tmp_path, upstream)
    assert _read(full, want, start, stop) == DATA[start:stop]
    assert full.stored_size(D) is None
    assert Partial(want.directory).available() == 0


def test_without_room_a_wrong_body_is_not_completed(tmp_path: Path, content: Content) -> None:
    full = process(tmp_path, content, room=Room(tmp_path / "state/partial", 1_000_000, 0))
    received = b""
    want = wanted(tmp_path, Upstream(DATA[:-1] + b"x"))
    with follow(full, want) as reader, pytest.raises(Unavailable):
        while data := reader.read(1 << 20):
            received += data
    assert len(received) <= len(DATA) - (64 << 10)


class FullContent(Content):
    """A storage that takes nothing while `is_full`."""

    is_full = True

    def take(self, path: str, digest: Digest, chunks: bytes) -> None:
        if self.is_full:
            raise Full("no room")
        super().take(path, digest, chunks)


def test_a_storage_that_is_full_is_passed_by_and_offered_it_again(
    tmp_path: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, upstream = FullContent(backend), Upstream()
    mine, want = process(tmp_path, full), wanted(tmp_path, upstream)
    assert _read(mine, want) == DATA
    assert _read(mine, want, 4_999_000) == DATA[4_999_000:]
    with pytest.raises(NoRoom):
        mine.finish(want)
    assert upstream.opened == [0]
    full.is_full = False
    monkeypatch.setattr(flights, "OFFER_SECONDS", 0.0)
    assert _read(mine, want) == DATA
    wait_for(lambda: mine.stored_size(D), 10, "published blob")
    assert upstream.opened == [0]


def test_finishing_in_the_background(tmp_path: Path, content: Content) -> None:
    mine, want = process(tmp_path, content), wanted(tmp_path, Upstream())
    mine.finish(want)
    assert mine.stored_size(D) == len(DATA)
    broken = Upstream()
    broken.error = UpstreamUnavailable("it does not answer")
    other = Wanted(Digest.of(b"other"), tmp_path / "state/partial/up/y", broken, want.limits)  # type: ignore[arg-type]
    with pytest.raises(UpstreamUnavailable):
        mine.finish(other)


def test_what_lies_in_a_file_needs_no_copy(tmp_path: Path, content: Content) -> None:
    """The spans and the reads of a cold blob are together the blob, and its end is proved first."""
    upstream = Upstream()
    upstream.held_at = 3_000_000
    received, spans = b"", 0
    with follow(process(tmp_path, content), wanted(tmp_path, upstream)) as reader:
        while len(received) < len(DATA):
            if span := reader.span(1 << 20):
                piece = os.pread(span.descriptor, span.count, span.start)
                assert span.start + span.count <= len(DATA) - (64 << 10) or upstream.gate.is_set()
                received, spans = received + piece, spans + 1
            else:
                received += reader.read(1000)
            if len(received) >= 2_900_000:
                upstream.gate.set()
    assert received == DATA
    assert spans > 2
