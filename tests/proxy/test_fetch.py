"""A blob over bad links: cut, stalled, restarted, lied about; never fetched twice, never wrong."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from distserver.oci.digests import Digest
from distserver.proxy import fetch as module
from distserver.proxy.fetch import Patience, fetch
from distserver.proxy.partial import PIECE_BYTES, Partial
from distserver.proxy.upstream_errors import (
    UpstreamAbsent,
    UpstreamError,
    UpstreamLied,
    UpstreamUnavailable,
)
from tests.live import wait_for

DATA = random.Random(3).randbytes(2 * PIECE_BYTES + 3_000_000)
D = Digest.of(DATA)


class Link:
    """An upstream behind a link: gives out at most `cut` bytes a connection.

    sent    bytes that crossed the link
    ranges  whether it honours them
    """

    def __init__(self, data: bytes = DATA, cut: int = 1 << 40, ranges: bool = True) -> None:
        self.data, self.cut, self.ranges = data, cut, ranges
        self.sent = 0
        self.starts: list[int] = []
        self.size = len(data)

    def open(self, start: int) -> Link:
        self.starts.append(start)
        self.start = start if self.ranges else 0
        self._at, self._left = self.start, self.cut
        return self

    def read(self, n: int) -> bytes:
        part = self.data[self._at : self._at + min(n, self._left)]
        if not part and self._at < len(self.data):
            raise UpstreamUnavailable("cut")
        self._at, self._left = self._at + len(part), self._left - len(part)
        self.sent += len(part)
        return part

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *exc: object) -> None:
        return


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.001)


def bring(partial: Partial, link: Link, seconds: float = 5.0) -> bytes:
    lock = partial.try_lock()
    assert lock
    with lock:
        fetch(lock, D, link.open, Patience(threading.Event(), seconds))  # type: ignore[arg-type]
        return partial.data.read_bytes()


@pytest.mark.parametrize("cut", [1 << 40, 5_000_000, 1_000_003])
def test_each_byte_crosses_the_link_once(tmp_path: Path, cut: int) -> None:
    partial, link = Partial(tmp_path / "p"), Link(cut=cut)
    assert bring(partial, link) == DATA
    assert link.sent == len(DATA)
    assert partial.size() == len(DATA)


def test_a_link_without_progress_ends_it_and_the_bytes_stay(tmp_path: Path) -> None:
    partial, link = Partial(tmp_path / "p"), Link(cut=PIECE_BYTES + 5)
    link.data = DATA[: PIECE_BYTES + 5]
    with pytest.raises(UpstreamUnavailable):
        bring(partial, link, seconds=0.05)
    assert partial.available() >= PIECE_BYTES
    again = Link()
    assert bring(partial, again) == DATA
    assert again.starts == [PIECE_BYTES]  # what the journal proves


def test_torn_bytes_are_cut_off_and_fetched_again(tmp_path: Path) -> None:
    partial = Partial(tmp_path / "p")
    bring(partial, Link())
    with partial.data.open("r+b") as file:
        file.seek(PIECE_BYTES + 7)
        file.write(b"\0\0\0\0")
    link = Link()
    assert bring(partial, link) == DATA
    assert link.starts == [PIECE_BYTES]


def test_an_upstream_without_ranges_is_compared_and_passed_over(tmp_path: Path) -> None:
    partial, link = Partial(tmp_path / "p"), Link(cut=PIECE_BYTES + 5)
    link.data = DATA[: PIECE_BYTES + 5]
    with pytest.raises(UpstreamUnavailable):
        bring(partial, link, seconds=0.05)
    assert bring(partial, Link(ranges=False)) == DATA


@pytest.mark.parametrize("wrong", [DATA[:-1] + b"\0", DATA + b"x", b""])
def test_wrong_bytes_are_never_whole(tmp_path: Path, wrong: bytes) -> None:
    partial = Partial(tmp_path / "p")
    with pytest.raises(UpstreamLied):
        bring(partial, Link(wrong))
    assert partial.available() == 0
    assert bring(partial, Link()) == DATA


def test_more_bytes_than_announced_are_a_lie(tmp_path: Path) -> None:
    link = Link(DATA + DATA)
    link.size = len(DATA)
    with pytest.raises(UpstreamLied):
        bring(Partial(tmp_path / "p"), link)


@pytest.mark.parametrize("error", [UpstreamAbsent("404"), UpstreamLied("range")])
def test_what_waiting_does_not_mend_ends_at_once(tmp_path: Path, error: UpstreamError) -> None:
    link = Link()

    def refuse(start: int) -> Link:
        link.starts.append(start)
        raise error

    lock = Partial(tmp_path / "p").try_lock()
    assert lock
    with lock, pytest.raises(type(error)):
        fetch(lock, D, refuse, Patience(threading.Event()))  # type: ignore[arg-type]
    assert len(link.starts) == 1


def test_a_process_that_ends_does_not_wait(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    lock = Partial(tmp_path / "p").try_lock()
    assert lock
    with lock, pytest.raises(UpstreamUnavailable):
        fetch(lock, D, Link(cut=0).open, Patience(stop, 999))  # type: ignore[arg-type]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    partial = Partial(tmp_path / "p")
    lock = partial.try_lock()
    assert lock
    with lock:
        assert partial.try_lock() is None
    again = partial.try_lock()
    assert again
    with again:
        again.remove()
        assert not partial.directory.exists()
    assert partial.available() == 0
    assert partial.size() is None


def test_a_lock_on_a_removed_directory_is_none(tmp_path: Path) -> None:
    partial = Partial(tmp_path / "p")
    lock = partial.try_lock()
    assert lock
    with lock:
        waiting = os.open(partial.directory / "lock", os.O_RDWR)
        lock.remove()
    os.close(waiting)
    fresh = partial.try_lock()
    assert fresh
    with fresh:
        assert (partial.directory / "lock").exists()


HOLDER = """
import sys, time
from pathlib import Path
from distserver.proxy.partial import Partial
lock = Partial(Path(sys.argv[1])).try_lock()
print("held", flush=True)
time.sleep(600)
"""


def test_a_killed_writer_frees_the_lock(tmp_path: Path) -> None:
    partial = Partial(tmp_path / "p")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(partial.directory)], stdout=subprocess.PIPE
    )
    assert holder.stdout
    with holder.stdout:
        assert holder.stdout.readline() == b"held\n"
        assert partial.try_lock() is None
        holder.kill()
        holder.wait(10)
    lock = wait_for(partial.try_lock, 5, "lock")
    with lock:
        assert partial.try_lock() is None


def test_readers_see_bytes_as_they_come(tmp_path: Path) -> None:
    partial, seen = Partial(tmp_path / "p"), []
    link = Link()
    read: Callable[[int], bytes] = link.read

    def watched(n: int) -> bytes:
        seen.append(partial.available())
        return read(n)

    link.read = watched  # type: ignore[method-assign]
    bring(partial, link)
    assert seen == sorted(seen)
    assert len(set(seen)) > 10
