"""A small memory that forgets, safe in threads."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from cachetools import TTLCache

K = TypeVar("K")
V = TypeVar("V")


class Memory(Generic[K, V]):
    """Values by key, each for so many seconds; the oldest go first when there are too many."""

    def __init__(self, most: int, seconds: float) -> None:
        self._lock = threading.Lock()
        self._kept: TTLCache[K, V] = TTLCache(most, seconds)

    def get(self, key: K) -> V | None:
        """Return what is remembered under a key; None if nothing is."""
        with self._lock:
            return self._kept.get(key)

    def set(self, key: K, value: V) -> None:
        """Remember a value from now on."""
        with self._lock:
            self._kept[key] = value
