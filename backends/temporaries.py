"""The files in tmp/: their names, how they come and go, and what is left of dead writers."""

from __future__ import annotations

import logging
import os
import stat
import time
import uuid

from backends.durable import make_directories
from backends.keys import TEMPORARY
from backends.root import Held, close_quietly, open_directory

_log = logging.getLogger(__name__)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def new_name() -> str:
    """Return a path that nobody else uses; host and process are for the reader of a listing."""
    return f"{TEMPORARY}/{os.uname().nodename[:64]}-{os.getpid()}-{uuid.uuid4()}"


def create(held: Held, name: str) -> int:
    """Return a descriptor of a new file, for writing. Raises: OSError."""
    try:
        return os.open(name, _CREATE, 0o666, dir_fd=held.fd)
    except FileNotFoundError:
        make_directories(held, TEMPORARY)
    return os.open(name, _CREATE, 0o666, dir_fd=held.fd)


def hard_link(held: Held, source: str, name: str) -> None:
    """Give an entry a second name in tmp/. Raises: OSError; FileNotFoundError = no such source."""
    try:
        return _link(held, source, name)
    except FileNotFoundError:
        make_directories(held, TEMPORARY)
    return _link(held, source, name)


def discard(held: Held, name: str) -> None:
    """Remove a file that is given up; one that cannot be removed is left to sweep()."""
    try:
        os.unlink(name, dir_fd=held.fd)
    except FileNotFoundError:
        return
    except OSError as exc:
        _log.warning("left %s to the sweep: %s", name, exc)


def sweep(held: Held, max_age_seconds: float) -> int:
    """Remove the files whose last write is that old; return how many. Raises: OSError."""
    fd = open_directory(held, TEMPORARY)
    try:
        with os.scandir(fd) as entries:
            stale = [entry.name for entry in entries if _is_stale(entry, max_age_seconds)]
        return sum(_unlinked(fd, name) for name in stale)
    finally:
        close_quietly(fd)


def _link(held: Held, source: str, name: str) -> None:
    os.link(source, name, src_dir_fd=held.fd, dst_dir_fd=held.fd, follow_symlinks=False)


def _is_stale(entry: os.DirEntry[str], max_age_seconds: float) -> bool:
    """Whether a file is old; one from the future is as old as it is far ahead (a clock was set)."""
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    # A link has the time of the bytes it names: it is as young as its last new name.
    written = status.st_mtime if status.st_nlink == 1 else status.st_ctime
    age = abs(time.time() - written)
    return stat.S_ISREG(status.st_mode) and age >= max_age_seconds


def _unlinked(directory_fd: int, name: str) -> bool:
    try:
        os.unlink(name, dir_fd=directory_fd)
    except FileNotFoundError:
        return False
    return True
