"""One node at a time does what only has to be done once: to save work, not to be safe."""

from __future__ import annotations

import secrets
import time

from backends import Backend, put, read_all
from backends.errors import Corrupt, NotFound

COLLECTING = "gc/lease"
LEASE_SECONDS = 3600.0
_MAX_BYTES = 64
_CLOCK = "gc/clock/"


def storage_now(backend: Backend) -> float:
    """The time by the storage's clock. Raises: Full, Unavailable."""
    key = _CLOCK + secrets.token_hex(8)
    put(backend, key, b"")
    try:
        return backend.stat(key).modified
    finally:
        backend.delete(key)


class Lease:
    """The right to do something, for an hour; whoever holds it renews it by taking it again."""

    def __init__(self, backend: Backend, key: str = COLLECTING) -> None:
        self._backend, self._key = backend, key
        self._holder, self._renewed_until = secrets.token_hex(8).encode(), 0.0

    def take(self) -> bool:
        """Take it unless another has it. Raises: Full, Unavailable."""
        if time.monotonic() < self._renewed_until:
            return True
        holder, age = self._now()
        if holder not in (b"", self._holder) and age < LEASE_SECONDS:
            return False
        put(self._backend, self._key, self._holder)
        if self._now()[0] != self._holder:
            return False
        self._renewed_until = time.monotonic() + LEASE_SECONDS / 2
        return True

    def give_back(self) -> None:
        """Let others have it. Raises: Unavailable."""
        self._renewed_until = 0.0
        if self._now()[0] == self._holder:
            self._backend.delete(self._key)

    def _now(self) -> tuple[bytes, float]:
        """Who has it, b"" = nobody, and for how many seconds."""
        try:
            holder = read_all(self._backend, self._key, _MAX_BYTES)
            return holder, storage_now(self._backend) - self._backend.stat(self._key).modified
        except (NotFound, Corrupt):
            return b"", 0.0
