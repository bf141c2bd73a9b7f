"""A small memory of answers, each validated by a revision of the directories that it came from.

Kept only where a storage can validate in about a microsecond (capability `Revises`); with any other
storage every question is asked, by who asks the same at the same time but once (rounds). Never an
absence, never a right of one repository for another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import LRUCache

from backends import Backend
from backends.base import Revises
from distserver.registry.rounds import Rounds

Value = TypeVar("Value")
Token = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class _Slot(Generic[Value]):
    token: Token
    value: Value
    size: int


class ValidatedCache(Generic[Value]):
    """Least recently used values, bounded in bytes.

    max_bytes  sum of the sizes that are kept
    size_of    bytes that a value counts for
    """

    def __init__(
        self, backend: Backend, max_bytes: int, size_of: Callable[[Value], int] = lambda _: 256
    ) -> None:
        self._revises = backend if isinstance(backend, Revises) else None
        self._size_of = size_of
        self._lock = threading.Lock()
        self._rounds: Rounds[Value] = Rounds()
        self._slots: LRUCache[Hashable, _Slot[Value]] = LRUCache(max_bytes, lambda slot: slot.size)

    def get(self, key: Hashable, prefixes: tuple[str, ...], load: Callable[[], Value]) -> Value:
        """Return the value of key, from memory if no prefix changed since it was loaded.

            prefixes  directories of the storage that the value depends on
        The token is taken before loading, so that a change during the load is seen next time.
        Raises: what load raises; Unavailable.
        """
        token = self._token(prefixes)
        if token is None:
            return self._rounds.get(key, load)
        with self._lock:
            slot = self._slots.get(key)
        if slot is not None and slot.token == token:
            return slot.value
        value = load()
        slot = _Slot(token, value, self._size_of(value))
        with self._lock:
            if slot.size <= self._slots.maxsize:
                self._slots[key] = slot
        return value

    def _token(self, prefixes: tuple[str, ...]) -> Token | None:
        if self._revises is None:
            return None
        tokens = [self._revises.revision(prefix) for prefix in prefixes]
        known = tuple(token for token in tokens if token is not None)
        return known if len(known) == len(tokens) else None
