"""Locks among the processes of a node, which are never waited for without end."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 0.005
LOCK_SECONDS = 5.0
"""They are held for moments: whoever has one for so long is stopped, or its disk hangs."""


def lock(descriptor: int, seconds: float = LOCK_SECONDS) -> None:
    """Take the lock of an open file or directory; it ends when the descriptor is closed.

    Raises: BlockingIOError if another process still has it after so many seconds; OSError.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(POLL_SECONDS)
        else:
            return


@contextmanager
def election(path: Path) -> Iterator[bool]:
    """Become the one process of the node that does something; the kernel ends that with it.

    path  of the lock file, made if need be
    Yields whether this process is the one. Raises: OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
