"""A freeze: pushes are refused on every server while it lasts, so that nothing changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from backends import Backend, put
from backends.errors import NotFound, Unavailable
from distserver.registry.lease import storage_now

KEY = "gc/freeze"
FREEZE_SECONDS = 3600.0
"""One that was not renewed for so long is over: whoever froze has died."""
SEEN_SECONDS = 2.0
"""Servers look for a freeze so often."""
DRAIN_SECONDS = 30.0
"""For pushes that were let in before."""


class Freezes:
    """Tells whether pushes are to be refused; asked at each one."""

    def __init__(self, backend: Backend) -> None:
        self._backend, self._lock = backend, threading.Lock()
        self._until, self._frozen = 0.0, False

    def require_none(self) -> None:
        """Let a push begin. Raises: Unavailable (frozen, or nobody knows)."""
        with self._lock:
            due = time.monotonic() >= self._until
            if due:
                self._until = time.monotonic() + SEEN_SECONDS
        if due:
            self._frozen = self._look()
        if self._frozen:
            raise Unavailable("pushes are refused while garbage is collected in a freeze")

    def _look(self) -> bool:
        try:
            begun = self._backend.stat(KEY).modified
        except NotFound:
            return False
        return storage_now(self._backend) - begun < FREEZE_SECONDS


@contextmanager
def frozen(backend: Backend, drain_seconds: float = DRAIN_SECONDS) -> Iterator[None]:
    """Refuse pushes on all servers, once those that were let in are through.

    Raises: Full, Unavailable.
    """
    put(backend, KEY, b"")
    try:
        time.sleep(SEEN_SECONDS + drain_seconds)
        yield
    finally:
        backend.delete(KEY)
