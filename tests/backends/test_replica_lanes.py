"""The threads of a member, and what a slow one costs the others."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from backends import Filesystem, put, read_all
from backends.errors import Unavailable
from backends.replica import lane, track, writing
from backends.replica.lane import Lane
from tests.backends.members import Site
from tests.forked import exit_code, fork
from tests.live import wait_for

CHUNK = bytes(1 << 20)


def test_a_lane_that_hangs_takes_no_more_calls() -> None:
    gate, one = threading.Event(), Lane("member")
    hung = [one.submit(gate.wait, 0.01) for _ in range(lane.MAX_LATE)]
    wait_for(lambda: isinstance(one.submit(int, 1).exception(5), Unavailable), 5, "refusal")
    gate.set()
    assert all(future.result(5) for future in hung)
    assert one.submit(lambda: 7, 1).result(5) == 7


def test_a_lane_has_so_many_threads_at_most_and_none_when_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lane, "IDLE_SECONDS", 0.05)
    gate, one = threading.Event(), Lane("counted", threads=3)
    futures = [one.submit(gate.wait, 60) for _ in range(20)]
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("counted") == 3
    gate.set()
    assert all(future.result(5) for future in futures)
    wait_for(lambda: "counted" not in [t.name for t in threading.enumerate()], 5, "end of threads")
    assert one.submit(lambda: 7, 1).result(5) == 7


def test_too_many_calls_are_refused_not_heaped_up() -> None:
    gate, one = threading.Event(), Lane("heap", threads=1)
    futures = [one.submit(gate.wait, 60) for _ in range(lane.MAX_PENDING + 1)]
    assert isinstance(futures[-1].exception(5), Unavailable)
    gate.set()
    assert all(future.result(5) for future in futures[:-1])


def test_a_mistake_is_raised_where_the_answer_is_taken() -> None:
    with pytest.raises(ZeroDivisionError):
        Lane("x").submit(lambda: 1 // 0, 1).result(5)


def test_a_forked_process_has_threads_of_its_own(tmp_path: Path) -> None:
    site = Site(tmp_path)
    storage = site.open()
    put(storage, "entry", b"x")

    def in_child() -> bool:
        put(storage, "child", b"y")
        return read_all(storage, "entry", 9) == b"x"

    assert exit_code(fork(in_child)) == 0
    assert read_all(storage, "child", 9) == b"y"


def test_a_slow_member_does_not_slow_a_push(tmp_path: Path) -> None:
    """The pace is that of the second fastest; what the slow one lacks is noted."""
    site = Site(tmp_path)
    storage = site.open()
    site.break_(2, "slow")
    began = time.monotonic()
    with storage.create() as writer:
        for _ in range(40):
            writer.write(CHUNK)
        writer.commit("entry")
    assert time.monotonic() - began < 40 * 0.05
    assert Filesystem(site.roots[0]).stat("entry").size == 40 << 20
    site.mend()
    wait_for(lambda: storage.tend() or "entry" in site.keys(2), 20, "the copy of the slow one")


def test_a_member_that_hangs_holds_so_much_and_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(track, "QUEUE_BYTES", 4 << 20)
    site = Site(tmp_path)
    storage = site.open()
    with storage.create() as writer:
        site.break_(2, "hung")
        for _ in range(16):
            writer.write(CHUNK)
        assert max(t.pending for t in writer._tracks) <= (4 << 20) + len(CHUNK)  # type: ignore[attr-defined]
        writer.commit("entry")
    site.mend()
    wait_for(lambda: storage.tend() or "entry" in site.keys(2), 20, "the copy of the hung one")


def test_all_that_hang_are_waited_for_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "WRITE_SECONDS", 0.3)
    site = Site(tmp_path)
    storage = site.open()
    put(storage, "entry", b"x")
    for number in range(3):
        site.break_(number, "hung")
    began = time.monotonic()
    with pytest.raises(Unavailable, match="no answer"):
        put(storage, "new", b"x")
    assert time.monotonic() - began < 5
    site.mend()
