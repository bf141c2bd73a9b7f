"""Calls into a storage that may hang: by threads that can be spared, waited for with a deadline.

How long a caller waits at most:

    METADATA_SECONDS  stat, open, create, keys, space: one or two round trips
    SUSPECT_SECONDS   the same, once a call is overdue: more than the slowest sane round trip
    DATA_SECONDS      reads and writes of at most 1 MiB, commit, link, delete: they wait for disks
    at once           when 4 calls are overdue, when all threads stand still, and while the prober
                      finds the storage down

An overdue call goes on in its thread until the kernel lets go. When WRITE_OFF_PROBES were answered
since (the mount was replaced, or one file hangs), overdue calls are written off and other threads
take over, MAX_LOST calls at most; after that only a new start of the server helps, and it is told.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TypeVar

from backends.errors import StorageError, Unavailable
from backends.guard.board import Board
from backends.guard.pool import Pool
from backends.guard.verdict import State

T = TypeVar("T")
log = logging.getLogger(__name__)

METADATA_SECONDS, DATA_SECONDS, SUSPECT_SECONDS = 5.0, 10.0, 1.0
METADATA_THREADS, DATA_THREADS = 8, 16
MAX_OVERDUE = 4
MAX_LOST = 32
WRITE_OFF_PROBES = 5
LOOK_SECONDS = 0.1
"""How soon a caller that waits notices that there is no hope any more."""


class Kind(Enum):
    """What a call does: it decides who makes it, and how long it may take."""

    METADATA = "metadata"
    DATA = "data"


class Overdue(Unavailable):
    """The caller gave up; the call itself goes on, and nobody else may touch what it works on."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Deadlines and threads of a guarded storage; see the module."""

    metadata_seconds: float = METADATA_SECONDS
    data_seconds: float = DATA_SECONDS
    suspect_seconds: float = SUSPECT_SECONDS
    metadata_threads: int = METADATA_THREADS
    data_threads: int = DATA_THREADS
    metadata_patience: float = 1.0
    data_patience: float = 3.0

    def seconds(self, kind: Kind, suspicious: bool) -> float:
        """How long a caller waits for a call."""
        if kind is Kind.DATA:
            return self.data_seconds
        return self.suspect_seconds if suspicious else self.metadata_seconds


class Gate:
    """The way of one process into one storage."""

    def __init__(self, part: str, board: Board, limits: Limits) -> None:
        self._part, self._board, self._limits = part, board, limits
        self._lock = threading.Lock()
        self.watching = threading.Lock()
        self._overdue = self._lost = 0
        self._write_off_at = 0
        self._put_off: list[Callable[[], None]] = []
        self._current = self._new_pools()

    @property
    def state(self) -> State:
        """How the storage stands, as this process sees it."""
        verdict = self._board.verdict
        if verdict.state is State.UP and self._overdue >= MAX_OVERDUE:
            return State.SUSPECT
        return verdict.state

    def ask(
        self,
        call: Callable[[], T],
        kind: Kind = Kind.METADATA,
        late: Callable[[Future[T]], None] | None = None,
        seconds: float | None = None,
    ) -> T:
        """Return what a call into the storage returns.

            late     what is done with the result when nobody waits for it any more
            seconds  the deadline, where it is not that of the kind
        Raises: what the call raises; Unavailable; Overdue when it was begun and has not returned.
        """
        pool = self._pools()[kind]
        if problem := self._problem(pool):
            raise Unavailable(problem)
        future = pool.submit(call)
        begun = time.monotonic()
        while True:
            limit = seconds or self._limits.seconds(kind, self._overdue > 0)
            left = begun + limit - time.monotonic()
            if future.done() or (left > 0 and not self._is_hopeless(future, pool)):
                if _is_done(future, min(left, LOOK_SECONDS)):
                    self._board.note_return()
                    return future.result()
                continue
            raise self._give_up(future, late, time.monotonic() - begun)

    def later(self, call: Callable[[], None]) -> None:
        """Have something put in order that nobody waits for; not before the storage is up."""
        if self.state is not State.UP:
            self._put_off.append(call)
            return
        self._pools()[Kind.DATA].submit(call).add_done_callback(self._note_failure)

    def _pools(self) -> dict[Kind, Pool]:
        """The pools in use: new ones when the storage is well and calls do not return."""
        if self._overdue and self._board.answers >= self._write_off_at:
            self._write_off()
        return self._current

    def _write_off(self) -> None:
        with self._lock:
            if self._overdue:
                log.warning("storage %s: %d calls are written off", self._part, self._overdue)
                self._lost, self._overdue = self._lost + self._overdue, 0
                self._current = self._new_pools()

    def _new_pools(self) -> dict[Kind, Pool]:
        limits, name = self._limits, f"storage {self._part}"
        return {
            Kind.METADATA: Pool(name, limits.metadata_threads, limits.metadata_patience),
            Kind.DATA: Pool(name, limits.data_threads, limits.data_patience),
        }

    def _problem(self, pool: Pool) -> str:
        """Why no call is begun now; "" = one is."""
        state = self.state
        if state is State.DOWN:
            return f"{self._part} is down: {self._board.words}"
        if state is State.RECOVERING:
            return f"{self._part} is recovering: it answers again, and is used soon"
        if state is State.SUSPECT:
            return f"{self._part} does not answer: {self._overdue} calls hang"
        if self._lost > MAX_LOST:
            return f"{self._part}: {self._lost} calls hang for good: restart the server"
        if pool.stands_still():
            return f"{self._part} does not answer: every call waits"
        if self._put_off:
            self._catch_up()
        return ""

    def _is_hopeless(self, future: Future[T], pool: Pool) -> bool:
        """Whether waiting is in vain: the storage is down, or nobody gets to the call."""
        if self.state in (State.DOWN, State.RECOVERING):
            return True
        return not future.running() and (self.state is State.SUSPECT or pool.stands_still())

    def _give_up(
        self, future: Future[T], late: Callable[[Future[T]], None] | None, waited: float
    ) -> Unavailable:
        """Leave a call to itself; return what to raise."""
        text = f"{self._part} did not answer for {waited:.1f} s"
        if future.cancel():
            return Unavailable(text)
        with self._lock:
            self._overdue += 1
            self._write_off_at = self._board.answers + WRITE_OFF_PROBES
            pools = self._current
            if self._overdue == MAX_OVERDUE:
                log.warning(
                    "storage %s: %d calls hang: nothing more is asked of it until one returns",
                    self._part,
                    self._overdue,
                )
        future.add_done_callback(partial(self._came_back, late, pools))
        return Overdue(text)

    def _came_back(
        self,
        late: Callable[[Future[T]], None] | None,
        pools: dict[Kind, Pool],
        future: Future[T],
    ) -> None:
        with self._lock:
            if pools is not self._current:
                self._lost -= 1
            else:
                self._overdue -= 1
                if self._overdue == MAX_OVERDUE - 1:
                    log.warning("storage %s: calls return again", self._part)
        if late:
            self.later(partial(late, future))

    def _catch_up(self) -> None:
        with self._lock:
            put_off, self._put_off = self._put_off, []
        for call in put_off:
            self.later(call)

    def _note_failure(self, future: Future[None]) -> None:
        error = future.exception()
        if isinstance(error, StorageError):
            log.warning("storage %s: something is left over: %s", self._part, error)
        elif error:
            log.error("storage %s", self._part, exc_info=error)


def _is_done(future: Future[T], seconds: float) -> bool:
    """Wait for a call to return or fail."""
    return bool(wait([future], max(0.0, seconds)).done)
