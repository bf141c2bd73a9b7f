"""How much room a file system has, and the reserve that ordinary pushes must leave.

The reserve is for small entries: records of removal and tag versions can still be written, so that
a full disk can be emptied again.
"""

from __future__ import annotations

import os
import sys
import time

from backends.base import Space
from backends.errors import Full
from backends.failures import unavailable
from backends.root import Root

SMALL_ENTRY_BYTES = 64 * 1024
CHECK_EVERY_BYTES = 64 * 1024 * 1024
_MEASURED_FOR_SECONDS = 1.0
_MIN_RESERVE_BYTES = 1024**3
_MIN_RESERVE_INODES = 1000
_RESERVE_PARTS = 50  # 1/50 = 2 %


class Room:
    """The room below one root, measured at most once a second.

    reserve_bytes, reserve_inodes   None = max(1 GiB, 2 %), max(1000, 2 %) of the file system
    """

    def __init__(self, root: Root, reserve_bytes: int | None, reserve_inodes: int | None) -> None:
        self._root = root
        self._reserve_bytes = reserve_bytes
        self._reserve_inodes = reserve_inodes
        self._measured: tuple[float, Space] | None = None

    def space(self) -> Space:
        """Return a measurement at most a second old. Raises: Unavailable."""
        now = time.monotonic()
        measured = self._measured
        if measured is None or not 0 <= now - measured[0] < _MEASURED_FOR_SECONDS:
            self._measured = measured = (now, self._measure())
        return measured[1]

    def require(self) -> None:
        """Refuse a large entry when the reserve is reached. Raises: Full, Unavailable."""
        if self.space().full:
            raise Full(f"{self._root.path}: only the reserve is left")

    def _measure(self) -> Space:
        try:
            status = os.fstatvfs(self._root.held().fd)
        except OSError as exc:
            raise unavailable(exc, self._root.path) from exc
        free_bytes = status.f_bavail * status.f_frsize
        total_bytes = status.f_blocks * status.f_frsize
        return Space(
            free_bytes=free_bytes,
            usable_bytes=max(0, free_bytes - self._bytes_kept(total_bytes)),
            usable_inodes=self._usable_inodes(status.f_favail, status.f_files),
        )

    def _bytes_kept(self, total: int) -> int:
        if self._reserve_bytes is not None:
            return self._reserve_bytes
        return max(_MIN_RESERVE_BYTES, total // _RESERVE_PARTS)

    def _usable_inodes(self, free: int, total: int) -> int:
        if total == 0:  # btrfs and some others make inodes as they go
            return sys.maxsize
        kept = self._reserve_inodes
        if kept is None:
            kept = max(_MIN_RESERVE_INODES, total // _RESERVE_PARTS)
        return max(0, free - kept)
