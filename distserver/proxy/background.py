"""Work in threads of its own that nobody has to wait for.

Daemon threads: a process that ends waits for none of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


def in_background(work: Callable[[], T], name: str) -> Future[T]:
    """Start work in a thread; the future has its value or its error."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as exc:  # the future hands it to whoever asks
            future.set_exception(exc)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


class Jobs(Generic[T]):
    """Jobs by key: one that runs already is joined, not started again.

    most  jobs at once; further ones are not started
    """

    def __init__(self, name: str, most: int) -> None:
        self._name, self._most = name, most
        self._lock = threading.Lock()
        self._running: dict[Hashable, Future[T]] = {}

    def start(self, key: Hashable, work: Callable[[], T]) -> Future[T] | None:
        """Return the running job of this key, begun now if there is none; None = too many run."""
        with self._lock:
            if key in self._running:
                return self._running[key]
            if len(self._running) >= self._most:
                return None
            future = self._running[key] = in_background(work, self._name)
        future.add_done_callback(lambda _: self._forget(key))
        return future

    def _forget(self, key: Hashable) -> None:
        with self._lock:
            self._running.pop(key, None)
