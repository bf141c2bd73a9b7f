"""A worker's heartbeat: only while it answers, or is busy and bytes move."""

from __future__ import annotations

from concurrent.futures import Executor, Future

import pytest

from distserver.server import pulse
from distserver.server.pulse import Pulse


class Threads(Executor):
    """Request threads that take up work when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Future[bool]] = []

    def submit(self, call, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        self.waiting.append(Future())
        return self.waiting[-1]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(pulse.time, "monotonic", lambda: now[0])
    return now


def test_it_beats_while_questions_are_answered(clock: list[float]) -> None:
    threads, made = Threads(), Pulse(lambda: True, 60)
    for _ in range(5):
        assert made.beats(threads)
        if not threads.waiting[-1].done():
            threads.waiting[-1].set_result(True)
        clock[0] += 29
    assert len(threads.waiting) > 2


def test_it_stops_when_no_thread_answers(clock: list[float]) -> None:
    threads, made = Threads(), Pulse(lambda: True, 60)
    assert made.beats(threads)
    clock[0] += 61
    assert not made.beats(threads)
    assert len(threads.waiting) == 1, "one question at a time"


def test_a_busy_worker_beats_while_bytes_move(clock: list[float]) -> None:
    threads, made = Threads(), Pulse(lambda: True, 60)
    for _ in range(5):
        assert made.beats(threads)
        clock[0] += 59
        made.moved()
    clock[0] += 61
    assert not made.beats(threads)


@pytest.mark.parametrize("wrong", [False, OSError("no answer")])
def test_a_wrong_answer_is_none(clock: list[float], wrong: bool | OSError) -> None:
    threads, made = Threads(), Pulse(lambda: True, 60)
    assert made.beats(threads)
    asked = threads.waiting[-1]
    asked.set_exception(wrong) if isinstance(wrong, OSError) else asked.set_result(wrong)
    clock[0] += 61
    assert not made.beats(threads)
