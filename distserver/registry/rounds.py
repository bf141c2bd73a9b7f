"""One question for many who ask the same at the same time, each answered as if it had asked alone.

An answer counts for whoever came before its question began, never for later ones: what anybody
acknowledged before a question came is in its answer. So nothing is trusted for a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

from backends.errors import Unavailable

Value = TypeVar("Value")

PATIENCE_SECONDS = 1.0
"""A round begins when the one before it ended, or after this: one that hangs holds nobody back."""
ANSWER_SECONDS = 60.0
"""More than any question of a storage takes."""


class Rounds(Generic[Value]):
    """Questions by key. A round is a Future: pending while it may be joined, then running."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: dict[Hashable, Future[Value]] = {}

    def get(self, key: Hashable, ask: Callable[[], Value]) -> Value:
        """Return the answer of a question that begins after this call.

        Raises: what the question raises. Blocks on: it, and PATIENCE_SECONDS.
        """
        with self._lock:
            before = self._newest.get(key)
            joins = before is not None and not before.running()
            mine = before if before and joins else Future[Value]()
            self._newest[key] = mine
        if joins:
            return _answer(mine)
        if before:
            wait([before], PATIENCE_SECONDS)
        return self._begin(key, mine, ask)

    def _begin(self, key: Hashable, mine: Future[Value], ask: Callable[[], Value]) -> Value:
        with self._lock:
            mine.set_running_or_notify_cancel()
        try:
            value = ask()
        except BaseException as exc:
            self._end(key, mine)
            mine.set_exception(exc)
            raise
        self._end(key, mine)
        mine.set_result(value)
        return value

    def _end(self, key: Hashable, mine: Future[Value]) -> None:
        """Let nobody find a round that is over."""
        with self._lock:
            if self._newest.get(key) is mine:
                del self._newest[key]


def _answer(joined: Future[Value]) -> Value:
    try:
        return joined.result(ANSWER_SECONDS)
    except TimeoutError as exc:
        raise Unavailable("a question of the storage has no answer yet") from exc
