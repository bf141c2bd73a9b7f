"""What a node takes of an upstream's link: fetches at once, bytes a second, over all processes."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from distserver.proxy.upstream import limits as module
from distserver.proxy.upstream.errors import UpstreamBusy
from distserver.proxy.upstream.limits import Limits, Rate, limits_of
from distserver.proxy.upstream.seats import Seats

FORK = multiprocessing.get_context("fork")


def limits(state: Path, fetches: int = 2) -> Limits:
    return limits_of(state, "up.site", fetches, 0, Seats(8))


def test_no_more_fetches_than_may_be(tmp_path: Path) -> None:
    mine, others = limits(tmp_path), limits(tmp_path)
    with mine.turn(False), others.turn(False):
        with pytest.raises(UpstreamBusy, match="2 fetches"), mine.turn(False, 0):
            pass
        with limits_of(tmp_path, "other.site", 2, 0, Seats(8)).turn(False, 0):
            pass  # one upstream holds up no other
    with mine.turn(False, 0), others.turn(False, 0):
        pass


def test_the_background_leaves_half_of_the_places(tmp_path: Path) -> None:
    found = limits(tmp_path)
    with found.turn(True, 0):
        with pytest.raises(UpstreamBusy), found.turn(True, 0):
            pass
        with found.turn(False, 0):
            pass


def _hold(state: Path, told: Connection) -> None:
    with limits(state, 1).turn(False, 0):
        told.send(True)
        signal.pause()


def test_a_killed_process_frees_its_place(tmp_path: Path) -> None:
    here, there = FORK.Pipe()
    process = FORK.Process(target=_hold, args=(tmp_path, there), daemon=True)
    process.start()
    assert here.poll(20)
    with pytest.raises(UpstreamBusy), limits(tmp_path, 1).turn(False, 0):
        pass
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with limits(tmp_path, 1).turn(False, 0):
        pass


class Clock:
    """A time that stands still; it notes who sleeps. Threads of other tests have the real one."""

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def test_bytes_are_booked_behind_those_of_others(tmp_path: Path, clock: Clock) -> None:
    for _ in range(2):
        for rate in (Rate(tmp_path / "rate", 1000), Rate(tmp_path / "rate", 1000)):
            rate.spend(2000)
    assert clock.slept == pytest.approx([2, 4, 6, 8])


def test_a_booking_of_another_boot_holds_up_nobody(tmp_path: Path, clock: Clock) -> None:
    rate = Rate(tmp_path / "rate", 1000)
    clock.now += 1_000_000
    rate.spend(1000)
    clock.now -= 1_000_000
    rate.spend(1000)
    assert clock.slept == pytest.approx([1, 1])


def test_a_state_directory_that_is_away_limits_nothing(tmp_path: Path) -> None:
    (tmp_path / "limits").write_text("in the way")
    found = limits_of(tmp_path, "up.site", 1, 1000, Seats(8))
    with found.turn(False, 0), found.turn(False, 0):
        found.rate.spend(10_000_000)


def test_a_lock_that_fails_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    found, before = limits(tmp_path), len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with found.turn(False, 0):
        assert len(os.listdir("/proc/self/fd")) == before
