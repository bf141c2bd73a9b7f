"""The threads that call one member of a set, so that a member that hangs costs them and no more."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from backends.errors import Unavailable

T = TypeVar("T")
THREADS = 16
MAX_LATE = 4
"""Calls that are overdue before the member gets no more of them."""
MAX_PENDING = 128
"""Calls that wait for a thread, or are made, before the member gets no more of them."""
IDLE_SECONDS = 5.0


class Lane:
    """Daemon threads, started when needed, in the process that needs them; a fork has its own.

    name     of the member, for messages
    threads  at most
    """

    def __init__(self, name: str, threads: int = THREADS) -> None:
        self._made = (name, threads)
        self._crew = _Crew(*self._made)

    def submit(self, call: Callable[[], T], seconds: float) -> Future[T]:
        """Let a thread make the call; the answer, or Unavailable at once, is in the future.

        seconds  how long it should take; the call itself is not hindered from taking longer
        """
        crew = self._crew
        if crew.pid != os.getpid():
            # Threads and locks of the parent are of no use here. Two that come here at once each
            # get a crew that works; one of the two is soon forgotten.
            self._crew = crew = _Crew(*self._made)
        return crew.submit(call, seconds)


class _Crew:
    def __init__(self, name: str, max_threads: int) -> None:
        self.pid = os.getpid()
        self._name, self._max_threads = name, max_threads
        self._lock = threading.Lock()
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any], float]] = SimpleQueue()
        self._threads = self._pending = 0
        self._due: dict[Future[Any], float] = {}

    def submit(self, call: Callable[[], T], seconds: float) -> Future[T]:
        future: Future[T] = Future()
        with self._lock:
            if problem := self._problem():
                future.set_exception(Unavailable(f"{self._name} {problem}"))
                return future
            self._pending += 1
            self._tasks.put((future, call, seconds))
            if self._pending > self._threads and self._threads < self._max_threads:
                self._threads += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return future

    def _problem(self) -> str:
        now = time.monotonic()
        if sum(due < now for due in self._due.values()) >= MAX_LATE:
            return "does not answer"
        return "is too far behind" if self._pending >= MAX_PENDING else ""

    def _work(self) -> None:
        while True:
            try:
                future, call, seconds = self._tasks.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._pending < self._threads:
                        self._threads -= 1
                        return
                continue
            self._run(future, call, seconds)
            del future, call  # what an answer refers to is not kept until the next one

    def _run(self, future: Future[Any], call: Callable[[], Any], seconds: float) -> None:
        if future.set_running_or_notify_cancel():
            with self._lock:
                self._due[future] = time.monotonic() + seconds
            try:
                result = call()
            except BaseException as exc:  # noqa: B036  # it is raised where the answer is taken
                self._done(future)
                future.set_exception(exc)
            else:
                self._done(future)
                future.set_result(result)
        else:
            self._done(future)

    def _done(self, future: Future[Any]) -> None:
        with self._lock:
            self._due.pop(future, None)
            self._pending -= 1
