"""Finds out whether a storage answers, by a child process that may hang in our place.

Of a server's processes one does so for all (see Board); when it ends, another takes over.
"""

from __future__ import annotations

import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backends.guard.board import Board
from backends.guard.verdict import GOOD_PROBES, LATE_SECONDS, State, Verdict

log = logging.getLogger(__name__)

REPLACE_SECONDS = 30.0
"""A child that is silent for so long may hang in a mount that is gone: another one is asked."""
MAX_HUNG = 3
"""With so many children that not even SIGKILL ends, no further one is started."""
STOP_SECONDS = 5.0
_PACKAGES = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True)
class Probing:
    """How a storage is probed.

    command           of the child; see probe_command
    good_probes       in a row that bring it back
    interval_seconds  between two probes
    """

    command: tuple[str, ...]
    good_probes: int = GOOD_PROBES
    interval_seconds: float = 5.0


def probe_command(path: str, expected_id: str | None) -> tuple[str, ...]:
    """Return the command of a child that probes a directory: it answers each line by one."""
    return (sys.executable, "-P", "-m", "backends.guard.probe", path, expected_id or "")


class Prober:
    """A thread that asks a child again and again, and writes on a board what follows.

    part    what the storage is called in the log
    needed  whether the storage has to be watched at all: a local disk has not
    """

    def __init__(
        self, part: str, probing: Probing, board: Board, needed: Callable[[], bool]
    ) -> None:
        self._part, self._probing, self._board, self._needed = part, probing, board, needed
        self._stop = threading.Event()
        self._probes = False
        self._hung: list[subprocess.Popen[bytes]] = []
        self._thread = threading.Thread(target=self._run, name=f"prober {part}", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it probes, or stands by."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End it, and its child with it; one that stands by ends with the process."""
        self._stop.set()
        if self._probes:
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        with self._board.taken_over():
            self._probes = True
            while self._goes_on():
                if self._may_start():
                    with self._child() as child:
                        self._ask_on(child)

    def _goes_on(self) -> bool:
        """Wait until the next probe is due; return whether it is wanted."""
        return not self._stop.wait(self._probing.interval_seconds) and self._needed()

    def _ask_on(self, child: subprocess.Popen[bytes]) -> None:
        """Probe until the child is of no use any more; its first line says that it has started."""
        alive = bool(_line(child, REPLACE_SECONDS)) and self._probe(child)
        while alive and self._goes_on():
            alive = self._probe(child)

    def _probe(self, child: subprocess.Popen[bytes]) -> bool:
        """Ask the child once and note what follows; return whether it can be asked again.

        While other calls return, a late probe is only a sign of a busy storage.
        """
        begun = time.monotonic()
        try:
            os.write(child.stdin.fileno(), b"\n")  # type: ignore[union-attr]
        except BrokenPipeError:
            return False
        while time.monotonic() - begun < REPLACE_SECONDS and not self._stop.is_set():
            words = _line(child, LATE_SECONDS)
            if words == "":
                return False
            if words is not None:
                if time.monotonic() - begun < LATE_SECONDS:
                    verdict = self._board.verdict.answered(self._probing.good_probes)
                    self._note(verdict, "" if words == "ok" else words)
                    self._board.note_answer()
                return True
            if self._board.quiet_seconds() >= LATE_SECONDS:
                self._note(self._board.verdict.silent(), "it does not answer")
        return False

    def _note(self, new: Verdict, words: str) -> None:
        old, told = self._board.verdict, self._board.words
        self._board.words, self._board.verdict = words, new
        if new.state is not old.state:
            log.warning("storage %s %s", self._part, _MEANING[new.state])
        if words != told and new.state is State.UP:
            log.warning("storage %s answers, but: %s", self._part, words or "nothing any more")

    @contextmanager
    def _child(self) -> Iterator[subprocess.Popen[bytes]]:
        path = os.pathsep.join(filter(None, [str(_PACKAGES), os.environ.get("PYTHONPATH")]))
        child = subprocess.Popen(  # noqa: S603
            self._probing.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        try:
            yield child
        finally:
            self._end(child)

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        child.kill()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                pipe.close()
        try:
            child.wait(1.0)
        except subprocess.TimeoutExpired:
            self._hung.append(child)

    def _may_start(self) -> bool:
        self._hung = [child for child in self._hung if child.poll() is None]
        return len(self._hung) < MAX_HUNG


_MEANING = {
    State.DOWN: "does not answer: it is left alone until it does, requests get 503 at once",
    State.RECOVERING: "answers again: it is used when it has done so for a while",
    State.UP: "is in use again",
}


def _line(child: subprocess.Popen[bytes], seconds: float) -> str | None:
    """Return the next line of a child; None = none came in time, "" = it has ended.

    A line is one write of less than a page, so it comes whole.
    """
    assert child.stdout  # noqa: S101  # a pipe, by _child
    if not select.select([child.stdout], [], [], seconds)[0]:
        return None
    return os.read(child.stdout.fileno(), 4096).decode(errors="replace").strip()
