"""A few threads that may be lost in calls that never return.

Daemon threads of our own: those of concurrent.futures are joined when the interpreter ends, and one
that hangs in the kernel would keep the process from ending.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from backends.errors import Unavailable

T = TypeVar("T")

IDLE_SECONDS = 60.0
"""A thread without work ends after this."""


class Pool:
    """At most `size` daemon threads, started when they are needed.

    patience_seconds   the threads stand still when all are in calls and none returned for this
    """

    def __init__(self, name: str, size: int, patience_seconds: float) -> None:
        self._name, self._size, self._patience = name, size, patience_seconds
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._threads = 0
        self._pending = 0
        self._last_return = 0.0

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Have a call made by a thread; the future can be cancelled until one takes it.

        Raises: Unavailable when the system has no thread left.
        """
        future: Future[T] = Future()
        with self._lock:
            if not self._pending:
                self._last_return = time.monotonic()
            self._pending += 1
            start = self._threads < min(self._pending, self._size)
            self._threads += start
        self._jobs.put((future, call))
        if start:
            self._start()
        return future

    def stands_still(self) -> bool:
        """Whether every thread is in a call that does not return."""
        with self._lock:
            full = self._pending >= self._size
            return full and time.monotonic() - self._last_return > self._patience

    def _start(self) -> None:
        try:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError as exc:
            with self._lock:
                self._threads -= 1
            raise Unavailable(f"{self._name}: {exc}") from exc

    def _work(self) -> None:
        while True:
            try:
                future, call = self._jobs.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                if self._may_end():
                    return
                continue
            _make(future, call)
            del future, call  # what they hold must not live until the next job
            with self._lock:
                self._pending -= 1
                self._last_return = time.monotonic()

    def _may_end(self) -> bool:
        with self._lock:
            needed = self._threads <= self._pending
            self._threads -= not needed
            return not needed


def _make(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except Exception as exc:  # whoever waits raises it
        future.set_exception(exc)
    else:
        future.set_result(result)
