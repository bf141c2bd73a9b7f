"""An `os` whose n-th file-system call fails."""

from __future__ import annotations

import errno
import os
from typing import Any

CALLS = frozenset(
    (
        "open",
        "close",
        "read",
        "write",
        "lseek",
        "fsync",
        "fdatasync",
        "fstat",
        "stat",
        "mkdir",
        "rmdir",
    )
    + ("replace", "link", "unlink", "scandir", "listdir", "fstatvfs")
)
ERRORS = (errno.EIO, errno.ENOSPC, errno.ESTALE, errno.EDQUOT, errno.ETIMEDOUT, errno.EROFS)
MODES = ("once", "reply lost", "from then on")
_UNDONE = frozenset(("open", "scandir"))


class FailingOs:
    """Stands in for the module `os`.

    n      which call fails, from 1
    code   errno
    mode   "once"; "reply lost": the call is done and fails nevertheless, as on a network;
           "from then on": each later call fails as well
    """

    def __init__(self, n: int, code: int, mode: str) -> None:
        self.n, self.code, self.mode = n, code, mode
        self.seen = 0
        self.failed = ""

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CALLS:
            return real

        def call(*args: Any, **options: Any) -> Any:
            self.seen += 1
            if self.seen != self.n and not (self.mode == "from then on" and self.seen > self.n):
                return real(*args, **options)
            self.failed = self.failed or f"{name}{args}"
            if name == "close" or (self.mode == "reply lost" and name not in _UNDONE):
                real(*args, **options)  # a close that fails has closed
            raise OSError(self.code, os.strerror(self.code), *args[:1])

        return call

    @property
    def reached(self) -> bool:
        """Whether there was an n-th call."""
        return self.seen >= self.n

    @property
    def answers(self) -> tuple[int, ...]:
        """Statuses that this failure may lead to; only want of room is 507."""
        return (503, 507) if self.code in (errno.ENOSPC, errno.EDQUOT) else (503,)
