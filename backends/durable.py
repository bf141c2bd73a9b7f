"""The write order that survives loss of power (docs: the storage contract, "Durable").

Temporary in tmp/ of the same file system, fsync of the file, rename, fsync of the directory and of
every ancestor that this process has not itself fsynced yet: another process may have made it a
moment ago and not be done. A failed fsync is never tried again on the same file: the kernel may
have dropped the pages and would report success.
"""

from __future__ import annotations

import errno
import os

from backends.errors import Unavailable
from backends.failures import unavailable
from backends.keys import UPLOADS, parent
from backends.root import Held, close_quietly, open_directory

_ATTEMPTS = 10
_MAX_SETTLED = 65536

Mark = tuple[int, int]
"""(device, inode) of a file."""


def make_directories(held: Held, directory: str) -> None:
    """Make a directory and its ancestors where they are missing. Raises: OSError."""
    steps = directory.split("/")
    for depth in range(1, len(steps) + 1):
        path = "/".join(steps[:depth])
        try:
            os.mkdir(path, dir_fd=held.fd)
        except FileExistsError:
            continue
        held.settled.discard(path)


def place(held: Held, source: str, key: str, mark: Mark, source_fd: int | None) -> None:
    """Rename a synced file to its key.

        source     path relative to source_fd (None: an absolute path)
        mark       of the file, to recognise it at its key when a network lost the reply
    Raises: OSError; then the key is as it was. FileNotFoundError = there is no source any more.
    """
    for _ in range(_ATTEMPTS):
        try:
            os.replace(source, key, src_dir_fd=source_fd, dst_dir_fd=held.fd)
            return
        except OSError as exc:
            if is_at(held, key, mark):
                return
            if exc.errno not in (errno.ENOENT, errno.EISDIR) or not _is_there(source, source_fd):
                raise
            in_the_way = exc.errno == errno.EISDIR
        if in_the_way:  # damage: goes if it is empty, with something in it, it stays
            os.rmdir(key, dir_fd=held.fd)
        # The directory is new, or a delete has just removed it.
        make_directories(held, parent(key))
    raise Unavailable(f"{key}: its directory vanishes again and again")


def is_at(held: Held, key: str, mark: Mark) -> bool:
    """Whether the key names that very file. Raises: OSError when it cannot be told."""
    try:
        status = os.stat(key, dir_fd=held.fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (status.st_dev, status.st_ino) == mark


def _is_there(path: str, fd: int | None) -> bool:
    try:
        os.stat(path, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def settle(held: Held, directory: str) -> None:
    """Make the names in a directory durable, and its own name, and so on upwards.

    Raises: Unavailable whatever the errno, since the name is visible already.
    """
    climbed = []
    try:
        sync_directory(held, directory)
        while directory and directory not in held.settled:
            climbed.append(directory)
            directory = parent(directory)
            sync_directory(held, directory)
    except OSError as exc:
        raise unavailable(exc, f"syncing directory {directory or '.'}") from exc
    if len(held.settled) > _MAX_SETTLED:
        held.settled.clear()
    held.settled.update(path for path in climbed if not may_vanish(path))


def may_vanish(directory: str) -> bool:
    """Whether delete() removes this directory when it is empty: the sessions below _uploads/ only.

    A directory that comes and goes cannot be remembered as synced; all others stay for ever.
    """
    return f"/{UPLOADS}/" in f"/{directory}"


def sync_directory(held: Held, directory: str) -> None:
    """Fsync one directory. Raises: OSError."""
    fd = open_directory(held, directory)
    try:
        os.fsync(fd)
    finally:
        close_quietly(fd)


def remove(held: Held, key: str) -> None:
    """Unlink a file and make that durable; absent before is success, and made durable as well.

    Raises: OSError.
    """
    try:
        os.unlink(key, dir_fd=held.fd)
    except (FileNotFoundError, IsADirectoryError):
        # Another process may have unlinked it a moment ago and not have synced yet: sync anyway.
        if not held.in_place():
            raise Unavailable(f"{key}: the storage went away during a delete") from None
    leave(held, parent(key))


def leave(held: Held, directory: str) -> None:
    """Make durable that a name in a directory is gone, and with the last one of a session's it.

    Raises: OSError.
    """
    if may_vanish(directory):
        _remove_if_empty(held, directory)
    _sync_nearest(held, directory)


def _remove_if_empty(held: Held, directory: str) -> None:
    try:
        os.rmdir(directory, dir_fd=held.fd)
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise


def _sync_nearest(held: Held, directory: str) -> None:
    """Fsync the directory or, where it is gone, the lowest ancestor that is there."""
    while True:
        try:
            return sync_directory(held, directory)
        except FileNotFoundError:
            if not directory:
                raise
            directory = parent(directory)
