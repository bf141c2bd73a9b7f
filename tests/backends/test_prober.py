"""The prober: a child finds the storage down and back, one process probes for all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from backends import Filesystem, guarded, open_backend, put
from backends.errors import Full, NotFound, Unavailable
from backends.guard import Guard, Probing
from backends.guard.board import Board
from backends.guard.probe import PREFIX, probe
from backends.guard.prober import MAX_HUNG, Prober, probe_command
from tests.backends.conftest import Verbs
from tests.forked import exit_code, fork
from tests.live import wait_for

WAIT_SECONDS = 20.0
CHILD = """
import os, sys, time
print("ready", flush=True)
for _ in sys.stdin:
    while os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    print(open(sys.argv[2]).read(), flush=True)
"""


def children(pid: int = 0) -> list[int]:
    """Process ids of the children of all threads of a process that probe; 0 = this process."""
    found: list[int] = []
    for file in Path(f"/proc/{pid or os.getpid()}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found += filter(_probes, map(int, file.read_text().split()))
    return found


def _probes(pid: int) -> bool:
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    return b"guard.probe" in command or CHILD.encode() in command


class Stage:
    """A prober whose child hangs while a file is there, and says what another file holds."""

    def __init__(self, directory: Path) -> None:
        self.hangs, self.says = directory / "hangs", directory / "says"
        self.says.write_text("ok")
        command = (sys.executable, "-c", CHILD, str(self.hangs), str(self.says))
        self.probing = Probing(command, good_probes=3, interval_seconds=0.05)
        self.board = Board()
        self.needed = True
        self.prober = self.start()

    def start(self) -> Prober:
        return Prober("/mnt/a", self.probing, self.board, lambda: self.needed)

    def begun(self) -> None:
        """Wait until the first probe was answered."""
        self.says.write_text("begun")
        wait_for(lambda: self.board.words == "begun", WAIT_SECONDS, "answer")
        self.says.write_text("ok")

    def until(self, state: str) -> None:
        wait_for(lambda: self.board.verdict.state.value == state, WAIT_SECONDS, state)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr("backends.guard.prober.LATE_SECONDS", 0.3)
    monkeypatch.setattr("backends.guard.prober.REPLACE_SECONDS", 2.0)
    made = Stage(tmp_path)
    yield made
    made.hangs.unlink(missing_ok=True)
    made.prober.stop()
    wait_for(lambda: not made.prober.is_alive(), WAIT_SECONDS, "end")


def test_down_when_a_probe_is_late_and_up_after_good_ones(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.begun()
    stage.hangs.touch()
    stage.until("down")
    assert stage.board.words == "it does not answer"
    stage.hangs.unlink()
    stage.until("recovering")
    stage.until("up")
    assert stage.board.words == ""
    assert stage.board.answers >= stage.probing.good_probes
    told = [record.getMessage() for record in caplog.records]
    assert [text.split(":")[0] for text in told if "but" not in text] == [
        "storage /mnt/a does not answer",
        "storage /mnt/a answers again",
        "storage /mnt/a is in use again",
    ]


def test_a_late_probe_is_no_sign_while_other_calls_return(stage: Stage) -> None:
    stage.begun()
    stage.hangs.touch()
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        stage.board.note_return()
        assert stage.board.verdict.state.value == "up"
        time.sleep(0.01)
    stage.until("down")


def test_a_child_that_hangs_for_long_is_replaced(stage: Stage) -> None:
    """What hangs may be a mount that is gone: another child sees the one in its place."""
    wait_for(children, WAIT_SECONDS, "child")
    before = children()
    stage.hangs.touch()
    wait_for(lambda: set(children()) - set(before), WAIT_SECONDS, "another child")
    stage.hangs.unlink()
    stage.until("up")


def test_a_child_that_was_killed_is_replaced(stage: Stage) -> None:
    (child,) = wait_for(children, WAIT_SECONDS, "child")
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: set(children()) - {child}, WAIT_SECONDS, "another child")


def test_no_more_children_than_a_few_are_left_hanging(stage: Stage) -> None:
    class Unkillable:
        def poll(self) -> None:
            return None

    stage.prober._hung = [Unkillable()] * MAX_HUNG  # type: ignore[list-item]
    assert not stage.prober._may_start()
    stage.prober._hung.pop()
    assert stage.prober._may_start()


def test_a_storage_that_answers_by_an_error_is_up_and_its_words_are_told(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.says.write_text("it cannot be written: Read-only file system")
    wait_for(lambda: "Read-only" in stage.board.words, WAIT_SECONDS, "words")
    assert stage.board.verdict.state.value == "up"
    stage.says.write_text("ok")
    wait_for(lambda: not stage.board.words, WAIT_SECONDS, "well")
    told = [record.getMessage() for record in caplog.records]
    assert "storage /mnt/a answers, but: it cannot be written: Read-only file system" in told
    assert len(told) == 2


def test_one_process_probes_and_another_takes_over(stage: Stage) -> None:
    wait_for(children, WAIT_SECONDS, "child")

    def stand_by() -> None:
        other = stage.start()
        wait_for(children, WAIT_SECONDS, "child of the one that took over")
        other.stop()

    pid = fork(stand_by)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert not children(pid)
    stage.prober.stop()
    assert exit_code(pid) == 0


def test_it_ends_when_nothing_is_to_be_watched(stage: Stage) -> None:
    stage.needed = False
    wait_for(lambda: not stage.prober.is_alive(), WAIT_SECONDS, "end")
    assert not children()


def test_a_guard_is_watched_from_its_first_call_on(root: Path) -> None:
    """With the real child, over a real directory."""
    command = probe_command(str(root), None)
    guard = guarded(Verbs(Filesystem(root)), "/mnt/a", Probing(command, 1, 0.05))
    guard.watch()
    assert not children()
    put(guard, "a/b", b"")
    try:
        wait_for(children, WAIT_SECONDS, "child")
        (root / "_store").rename(root / "away")
        wait_for(lambda: guard.standings()[0].words, WAIT_SECONDS, "words")
        assert "not mounted" in guard.standings()[0].words
    finally:
        guard.unwatch()
    assert not children()


def test_a_child_that_nobody_listens_to_ends_without_a_word(root: Path) -> None:
    """The worker that started it was killed before it was ready: no traceback in the log."""
    reader, writer = os.pipe()
    os.close(reader)
    command = probe_command(str(root), None)
    done = subprocess.run(command, input=b"", stdout=writer, stderr=subprocess.PIPE, timeout=30)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_local_disk_is_not_watched(root: Path) -> None:
    guard = open_backend(str(root))
    assert isinstance(guard, Guard)
    guard.watch()
    put(guard, "a/b", b"")
    if not guard.is_local():
        pytest.skip("the tests' directory is on no local file system")
    put(guard, "a/c", b"")
    assert not children()


def test_a_probe_leaves_nothing_behind(files: Filesystem) -> None:
    assert probe(files, f"{PREFIX}x") == "ok"
    assert not list(files.keys(PREFIX))
    with pytest.raises(NotFound):
        files.stat(f"{PREFIX}x")


@pytest.mark.parametrize(
    "error, words", [(Full("no room"), "written: no room"), (Unavailable("a\nb"), "written: a b")]
)
def test_a_probe_that_cannot_write_says_so_in_a_line(
    files: Filesystem, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(files, "create", fail)
    assert probe(files, f"{PREFIX}x") == f"it cannot be {words}"


def test_a_probe_of_another_storage_writes_nothing(tmp_path: Path, root: Path) -> None:
    assert "another storage" in probe(Filesystem(root, expected_id="other"), f"{PREFIX}x")
    assert "not initialised" in probe(Filesystem(tmp_path), f"{PREFIX}x")
    assert not (tmp_path / "hints").exists()
