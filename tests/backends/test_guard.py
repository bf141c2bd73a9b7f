"""The guard: who calls into a storage that hangs gets an error in time, and all is well later."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backends import Filesystem, guarded, initialise, open_backend, put, read_all
from backends.base import Revises
from backends.errors import NotFound, Unavailable
from backends.guard import Guard, Limits
from backends.guard.board import Board
from backends.guard.gate import MAX_LOST, MAX_OVERDUE, WRITE_OFF_PROBES
from backends.guard.verdict import State, Verdict
from tests.backends.hanging import WAIT_SECONDS, Hanging
from tests.forked import exit_code, fork
from tests.live import wait_for

QUICK = Limits(metadata_seconds=0.4, data_seconds=0.5, suspect_seconds=0.1)
PATIENT = Limits(metadata_seconds=60, data_seconds=60, suspect_seconds=60, metadata_threads=2)


@pytest.fixture
def storage() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made._free.set()


@pytest.fixture
def guard(storage: Hanging) -> Guard:
    made = guarded(storage, "/mnt/a", limits=QUICK)
    put(made, "a/b", b"bytes")
    return made


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes to say that the storage is unavailable."""
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        call()
    return time.monotonic() - begun


def lose(guard: Guard, count: int) -> None:
    """Let so many calls be given up."""
    for _ in range(count):
        seconds(lambda: guard.stat("a/b"))


def answer(guard: Guard, probes: int) -> None:
    """Let so many probes be answered in time."""
    for _ in range(probes):
        guard._board.note_answer()


def state(guard: Guard) -> str:
    return guard.standings()[0].state


VERBS: dict[str, Callable[[Guard], object]] = {
    "stat": lambda guard: guard.stat("a/b"),
    "open": lambda guard: guard.open("a/b"),
    "create": lambda guard: guard.create(),
    "link": lambda guard: guard.link("a/b", "a/c"),
    "move": lambda guard: guard.move("a/b", "a/b"),  # type: ignore[attr-defined]
    "delete": lambda guard: guard.delete("a/b"),
    "keys": lambda guard: list(guard.keys("a/")),
}


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_is_given_up_in_time_and_works_again_later(
    storage: Hanging, guard: Guard, verb: str
) -> None:
    with storage.hung():
        assert 0.3 < seconds(lambda: VERBS[verb](guard)) < 5
    wait_for(lambda: not guard._gate()._overdue, WAIT_SECONDS, "return")
    VERBS[verb](guard)


def test_a_read_in_mid_stream_is_given_up_and_its_reader_closed_by_who_comes_back(
    storage: Hanging, guard: Guard
) -> None:
    with guard.open("a/b") as reader:
        assert reader.read(2) == b"by"
        with storage.hung():
            assert seconds(lambda: reader.read(2)) < 5
            assert seconds(lambda: reader.read(2)) < 0.2  # it is over
            assert "close" not in storage.calls
    wait_for(lambda: storage.calls.count("close") == 1, WAIT_SECONDS, "close")


@pytest.mark.parametrize("call", ["write", "commit"])
def test_a_write_that_is_given_up_is_aborted_by_who_comes_back(
    storage: Hanging, guard: Guard, call: str
) -> None:
    with guard.create() as writer:
        with storage.hung():
            asked = b"x" if call == "write" else "a/new"
            assert seconds(lambda: getattr(writer, call)(asked)) < 5
        with pytest.raises(Unavailable):
            writer.commit("a/newer")
    wait_for(lambda: storage.calls.count("abort") == 1, WAIT_SECONDS, "abort")
    with pytest.raises(NotFound):
        guard.stat("a/newer")


def test_a_reader_that_comes_too_late_is_closed(storage: Hanging, guard: Guard) -> None:
    with storage.hung():
        seconds(lambda: guard.open("a/b"))
    wait_for(lambda: "close" in storage.calls, WAIT_SECONDS, "close")


def test_after_one_call_metadata_waits_less_and_after_four_nothing_is_asked(
    storage: Hanging, guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    with storage.hung():
        assert seconds(lambda: guard.stat("a/b")) > 0.3
        assert seconds(lambda: guard.stat("a/b")) < 0.3
        lose(guard, MAX_OVERDUE - 2)
        assert state(guard) == "suspect"
        before = len(storage.calls)
        assert all(seconds(lambda: guard.stat("a/b")) < 0.1 for _ in range(50))
        assert len(storage.calls) == before
        assert "4 calls hang" in caplog.text
    wait_for(lambda: state(guard) == "up", WAIT_SECONDS, "up")
    assert guard.stat("a/b").size == 5
    assert "calls return again" in caplog.text


def test_a_crowd_waits_a_second_at_most_and_its_threads_are_few(storage: Hanging) -> None:
    """Those that no thread gets to are told at once when all threads stand still."""
    guard = guarded(storage, "/mnt/a", limits=PATIENT)
    before = threading.active_count()
    with storage.hung(), ThreadPoolExecutor(20) as crowd:
        futures = [crowd.submit(guard.stat, "a/b") for _ in range(20)]
        wait_for(lambda: sum(f.done() for f in futures) == 18, WAIT_SECONDS, "answers")
        assert threading.active_count() - before <= 20 + PATIENT.metadata_threads
        assert seconds(lambda: guard.stat("a/b")) < 0.1
        storage._free.set()
    answers = [future.exception() for future in futures]
    assert sum(isinstance(answer, NotFound) for answer in answers) == 2


def test_all_who_wait_are_told_when_the_prober_finds_the_storage_down(storage: Hanging) -> None:
    guard = guarded(storage, "/mnt/a", limits=PATIENT)
    with storage.hung(), ThreadPoolExecutor(1) as other:
        future = other.submit(seconds, lambda: guard.stat("a/b"))
        assert storage.entered.acquire(timeout=WAIT_SECONDS)
        guard._board.words, guard._board.verdict = "it hangs", Verdict(State.DOWN)
        assert future.result(WAIT_SECONDS) < 5
        with pytest.raises(Unavailable, match="/mnt/a is down: it hangs"):
            guard.stat("a/b")
        assert storage.calls == ["stat"]


def test_what_is_open_is_not_closed_while_the_storage_is_down(
    storage: Hanging, guard: Guard
) -> None:
    reader = guard.open("a/b")
    with storage.hung():
        guard._board.verdict = Verdict(State.DOWN)
        reader.close()
        assert not storage.entered.acquire(timeout=0.5)
    guard._board.verdict = Verdict(State.UP)
    guard.stat("a/b")
    wait_for(lambda: "close" in storage.calls, WAIT_SECONDS, "close")


def test_calls_that_never_return_are_written_off_when_the_storage_is_back(
    storage: Hanging, guard: Guard
) -> None:
    """As after a hung mount was replaced: the old one's calls hang for ever."""
    with storage.hung():
        lose(guard, MAX_OVERDUE)
        answer(guard, WRITE_OFF_PROBES - 1)
        assert seconds(lambda: guard.stat("a/b")) < 0.1
        assert state(guard) == "suspect"
        answer(guard, 1)
        assert seconds(lambda: guard.stat("a/b")) < 5
        assert storage.calls.count("stat") == MAX_OVERDUE + 1
    wait_for(lambda: not guard._gate()._lost, WAIT_SECONDS, "return")
    assert guard.stat("a/b").size == 5


def test_a_guard_that_is_not_used_any_more_holds_no_directory_open(tmp_path: Path) -> None:
    """Else a mount could not be taken away until a garbage collection."""
    initialise(open_backend(str(tmp_path)))
    guard = open_backend(str(tmp_path))
    assert list(guard.keys("_store/"))
    opened = [os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.exists()]
    assert str(tmp_path) in opened
    gc.disable()
    try:
        del guard
        left = [os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.exists()]
        assert str(tmp_path) not in left
    finally:
        gc.enable()


def test_what_asks_for_no_identity_stops_and_goes_on_with_the_rest(tmp_path: Path) -> None:
    """Else calls of its own would hang for ever with a mount that was replaced."""
    initialise(open_backend(str(tmp_path)))
    guard = guarded(Filesystem(str(tmp_path)), "/mnt/a", limits=QUICK)
    bare = guard.unguarded()  # type: ignore[attr-defined]
    guard.is_local = bare.is_local = lambda: False
    assert list(bare.keys("_store/"))
    guard._board.verdict = Verdict(State.DOWN)
    with pytest.raises(Unavailable, match="is down"):
        list(bare.keys("_store/"))
    guard._board.verdict = Verdict(State.UP)
    assert list(bare.keys("_store/"))


def test_lost_calls_have_a_limit(storage: Hanging, guard: Guard) -> None:
    with storage.hung():
        for _ in range(MAX_LOST // MAX_OVERDUE + 2):
            lose(guard, MAX_OVERDUE)
            answer(guard, WRITE_OFF_PROBES)
        with pytest.raises(Unavailable, match="restart the server"):
            guard.stat("a/b")
        assert storage.calls.count("stat") <= MAX_LOST + 2 * MAX_OVERDUE


def test_a_forked_child_has_threads_of_its_own(guard: Guard) -> None:
    assert exit_code(fork(lambda: guard.stat("a/b").size == 5)) == 0


def test_a_verdict_is_shared_with_forked_children(guard: Guard) -> None:
    assert exit_code(fork(lambda: setattr(guard._board, "verdict", Verdict(State.DOWN)))) == 0
    assert state(guard) == "down"


def test_a_local_disk_is_asked_directly(root: Path) -> None:
    """With revisions and descriptors, and without a thread, once it was opened."""
    guard = open_backend(str(root))
    put(guard, "a/b", b"bytes")
    if not guard.is_local():
        pytest.skip("the tests' directory is on no local file system")
    before = threading.active_count()
    with guard.open("a/b") as reader:
        assert reader.fileno() >= 0
    assert isinstance(guard, Revises)
    assert read_all(guard, "a/b", 9) == b"bytes"
    assert guard.local_path("a/b") == str(root / "a/b")
    assert threading.active_count() == before


def test_a_storage_that_appears_later_is_seen(tmp_path: Path) -> None:
    guard = open_backend(str(tmp_path / "late"))
    assert seconds(lambda: guard.stat("a/b")) < 5
    (tmp_path / "late").mkdir()
    initialise(Filesystem(tmp_path / "late"))
    with pytest.raises(NotFound):
        guard.stat("a/b")


def test_verdicts() -> None:
    """Down at once, back only after good probes in a row."""
    down = Verdict().answered().silent()
    assert down.state is State.DOWN
    back = down.answered(3).answered(3)
    assert back.state is State.RECOVERING
    assert back.silent() == down
    assert back.answered(3) == Verdict()


def test_a_board_keeps_words_of_any_length() -> None:
    board = Board()
    board.words = "é" * 5000
    assert set(board.words.removesuffix("�")) == {"é"}
    board.words = "short"
    assert board.words == "short"
