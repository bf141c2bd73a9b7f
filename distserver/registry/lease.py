"""One node at a time collects: to save work, not to be safe."""

from __future__ import annotations

import secrets

from backends import Backend, put, read_all
from backends.errors import Corrupt, NotFound

KEY = "gc/lease"
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
    """The right to collect, for an hour; whoever holds it renews it by taking it again."""

    def __init__(self, backend: Backend) -> None:
        self._backend, self._holder = backend, secrets.token_hex(8).encode()

    def take(self) -> bool:
        """Take it unless another has it. Raises: Full, Unavailable."""
        holder, age = self._now()
        if holder not in (b"", self._holder) and age < LEASE_SECONDS:
            return False
        put(self._backend, KEY, self._holder)
        return self._now()[0] == self._holder

    def give_back(self) -> None:
        """Let others have it. Raises: Unavailable."""
        if self._now()[0] == self._holder:
            self._backend.delete(KEY)

    def _now(self) -> tuple[bytes, float]:
        """Who has it, b"" = nobody, and for how many seconds."""
        try:
            holder = read_all(self._backend, KEY, _MAX_BYTES)
            return holder, storage_now(self._backend) - self._backend.stat(KEY).modified
        except (NotFound, Corrupt):
            return b"", 0.0
