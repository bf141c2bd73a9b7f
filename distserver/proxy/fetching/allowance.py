"""How much may still come into the cache before it is looked at again: a number for the node."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distserver.registry.locks import lock

log = logging.getLogger(__name__)

MAX_BYTES = 32


class Allowance:
    """Bytes that are left, for all processes of a node.

    As long as something is left a blob may come, whatever its size: so what is exceeded is exceeded
    by one blob of each node. A file that cannot be used, or was never written, forbids nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def grant(self, left: int) -> None:
        """Say anew what is left, in bytes; <= 0 = nothing. Raises: OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._opened(os.O_RDWR | os.O_CREAT) as descriptor:
            _write(descriptor, left)

    def take(self, count: int) -> bool:
        """Take bytes from what is left; whether they may come."""
        try:
            with self._opened(os.O_RDWR) as descriptor:
                left = _read(descriptor)
                if left > 0:
                    _write(descriptor, left - count)
                return left > 0
        except FileNotFoundError:
            return True
        except (OSError, ValueError) as exc:
            log.warning("what may still come into the cache is not known: %s", exc)
            return True

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left."""
        try:
            with self._opened(os.O_RDONLY) as descriptor:
                return _read(descriptor) <= 0
        except (OSError, ValueError):
            return False

    @contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        descriptor = os.open(self._path, flags | os.O_CLOEXEC, 0o600)
        try:
            lock(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)


def _read(descriptor: int) -> int:
    return int(os.pread(descriptor, MAX_BYTES, 0))


def _write(descriptor: int, left: int) -> None:
    os.pwrite(descriptor, f"{left:<{MAX_BYTES}}".encode(), 0)
