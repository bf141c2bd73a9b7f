"""A copy that is written while its bytes pass through to somebody else."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)


class Filling:
    """A copy on its way. What fails on this disk only ends the copy, never what passes through.

    path   where it is written; its name is that of the copy, which lies one level above
    kept   told the size of a copy that got its name
    Raises: OSError from its constructor: nobody else may write it at the same time.
    """

    def __init__(self, path: Path, kept: Callable[[int], None]) -> None:
        self._path, self._kept, self._size = path, kept, 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._require_named()
            os.ftruncate(self._fd, 0)
        except OSError:
            os.close(self._fd)
            raise

    def write(self, data: bytes) -> None:
        """Append data, as long as this disk takes it."""
        if self._fd < 0:
            return
        try:
            if os.write(self._fd, data) != len(data):
                raise OSError("the disk took a part only")
            self._size += len(data)
        except OSError as exc:
            log.warning("%s is given up: %s", self._path, exc)
            self.close()

    def keep(self) -> None:
        """Give the copy its name: all of it was written, and it proved to have its digest."""
        if self._fd < 0:
            return
        try:
            self._path.rename(self._path.parent.parent / self._path.name)
        except OSError as exc:
            log.warning("%s is given up: %s", self._path, exc)
            self.close()
            return
        os.close(self._fd)
        self._fd = -1
        self._kept(self._size)

    def close(self) -> None:
        """Forget a copy that is not kept; may be called twice, and after keep."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._path.unlink(missing_ok=True)
            os.close(fd)

    def _require_named(self) -> None:
        """The file that we locked must still have its name: its writer may have kept it."""
        mine, named = os.fstat(self._fd), self._path.stat()
        if (mine.st_dev, mine.st_ino) != (named.st_dev, named.st_ino):
            raise FileExistsError(f"{self._path} was finished a moment ago")
