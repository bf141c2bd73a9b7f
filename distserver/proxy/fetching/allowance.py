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

    def grant(self, left: int, since: int | None) -> None:
        """Say anew what is left, in bytes; <= 0 = nothing. Raises: OSError.

        since  what was left when that was found out: what was taken after that is taken off
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._opened(os.O_RDWR | os.O_CREAT) as descriptor:
            taken = 0 if since is None else max(0, since - _read(descriptor))
            _write(descriptor, left - taken)

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

    def left(self) -> int | None:
        """Return the bytes that are left; None = nobody has said."""
        try:
            with self._opened(os.O_RDONLY) as descriptor:
                return _read(descriptor)
        except (OSError, ValueError) as exc:
            log.debug("what may still come into the cache is not known: %s", exc)
            return None

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
