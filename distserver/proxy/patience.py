"""How long a client waits for a held tag's validation, which goes on without him."""

from __future__ import annotations

import threading
from collections import Counter

REVALIDATE_SECONDS = 2.0
OVERRUNS = 3
"""After so many waits in vain nobody waits, until an answer came."""


class Patience:
    """Learns by upstream whether waiting is worth it.

    To the breaker a silent upstream is a failed one only after its whole deadline.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._overruns: Counter[str] = Counter()

    def seconds(self, upstream: str) -> float:
        """Return how long to wait now."""
        with self._lock:
            return REVALIDATE_SECONDS if self._overruns[upstream] < OVERRUNS else 0.0

    def overran(self, upstream: str) -> None:
        """Note that somebody waited in vain."""
        with self._lock:
            self._overruns[upstream] += 1

    def answered(self, upstream: str) -> None:
        """Note that a validation was answered, however late."""
        with self._lock:
            self._overruns.pop(upstream, None)
