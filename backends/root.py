"""The root directory of a file storage: opened when first needed, verified, and watched.

An unmounted or exchanged directory must never be read as an empty storage. So every operation goes
through a descriptor of the verified root and asks first whether the *witness* (the identity file,
found by its path) is still the one that was verified. No locks: two threads that open at once each
get a good descriptor and one of them is dropped, so a fork at any moment is harmless.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cached_property

from backends import mounts
from backends.errors import Unavailable
from backends.failures import unavailable

_log = logging.getLogger(__name__)
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

Recogniser = Callable[[str, int], str]
"""Takes a directory, its path and a descriptor; returns the witness's path in it, or raises."""


class Held:
    """A verified root that is open; closed when nobody refers to it, never in mid-call of a thread.

    fd        descriptor, for calls relative to it (never listed itself: its offset is shared)
    settled   directories whose own name is known to be durable (see durable.settle)
    """

    def __init__(self, path: str, recognise: Recogniser) -> None:
        self.fd = os.open(path, _FLAGS)
        self.settled: set[str] = set()
        self.mark = _mark(os.fstat(self.fd))
        witness = recognise(path, self.fd)
        self._witness = os.path.join(path, witness)
        self._witness_mark = _mark(os.stat(witness, dir_fd=self.fd))

    def in_place(self) -> bool:
        """Whether the root's path still leads here: one stat, about a microsecond."""
        try:
            return _mark(os.stat(self._witness)) == self._witness_mark
        except OSError:
            # Not an answer yet: the caller opens the root anew and reports what it finds.
            return False

    @cached_property
    def local(self) -> bool:
        """Whether the times of its directories can be trusted (see mounts)."""
        return mounts.is_local(self.fd)

    def __del__(self) -> None:
        # No fd when __init__ failed at its first line.
        if hasattr(self, "fd"):
            close_quietly(self.fd)


class Root:
    """The path of a storage and, from the first use on, its open root."""

    def __init__(self, path: str, recognise: Recogniser) -> None:
        self.path = os.path.abspath(path)
        self._recognise = recognise
        self._held: Held | None = None

    def held(self) -> Held:
        """Return the root that is in place now, opened and verified again where it must.

        Raises: Unavailable in plain words: missing, not initialised, or another storage.
        """
        held = self._held
        if held is None or not held.in_place():
            self._held = None
            self._held = held = self._open()
        return held

    def forget(self) -> None:
        """Open anew at the next use (a network file system said that our handle is stale)."""
        self._held = None

    def is_local(self) -> bool:
        """Whether the root that is open lies on a local file system; touches neither."""
        held = self._held
        return held is not None and held.local

    def still(self, held: Held) -> Held:
        """Return the root in place now, which must be the directory that held has open.

        Raises: Unavailable.
        """
        now = self.held()
        if now.mark != held.mark:
            raise Unavailable(f"{self.path}: the storage was exchanged during a write")
        return now

    def _open(self) -> Held:
        try:
            return Held(self.path, self._recognise)
        except FileNotFoundError as exc:
            raise Unavailable(f"{self.path} does not exist: is the storage mounted?") from exc
        except OSError as exc:
            raise unavailable(exc, self.path) from exc


def close_quietly(fd: int) -> None:
    """Close a descriptor that was only read from, or whose file is given up."""
    try:
        os.close(fd)
    except OSError as exc:
        _log.warning("closing descriptor %d: %s", fd, exc)


def open_directory(held: Held, directory: str) -> int:
    """Return a new descriptor of a directory; "" is the root. Raises: OSError."""
    return os.open(directory or ".", _FLAGS | os.O_NOFOLLOW, dir_fd=held.fd)


def _mark(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
