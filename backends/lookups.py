"""Finding one file below a root: only a regular file is an entry, all else is absent."""

from __future__ import annotations

import errno
import os
import stat

from backends.durable import Mark
from backends.root import Held, close_quietly

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
# O_NONBLOCK: a pipe in the place of an entry must not hang us.


def status_of(held: Held, key: str) -> os.stat_result:
    """Return what stat says of an entry. Raises: OSError; FileNotFoundError = there is none."""
    return _of_entry(os.stat(key, dir_fd=held.fd, follow_symlinks=False))


def open_entry(held: Held, key: str) -> tuple[int, int]:
    """Return a descriptor and the size of an entry. Raises: OSError, as status_of."""
    return open_file(key, held.fd)


def sync_file(path: str) -> Mark:
    """Fsync a file that is no entry yet. Raises: OSError, as status_of."""
    fd, _ = open_file(path, None)
    try:
        os.fsync(fd)
        status = os.fstat(fd)
        return status.st_dev, status.st_ino
    finally:
        close_quietly(fd)


def open_file(path: str, directory_fd: int | None) -> tuple[int, int]:
    """Return a descriptor and the size of a file. Raises: OSError, as status_of."""
    try:
        fd = os.open(path, _FLAGS, dir_fd=directory_fd)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENXIO):  # a symbolic link, a pipe or a socket
            raise _no_entry() from exc
        raise
    try:
        return fd, _of_entry(os.fstat(fd)).st_size
    except OSError:
        close_quietly(fd)
        raise


def _of_entry(status: os.stat_result) -> os.stat_result:
    if not stat.S_ISREG(status.st_mode):
        raise _no_entry()
    return status


def _no_entry() -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "not a regular file")
