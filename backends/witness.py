"""What a root directory must show before it is believed to be the storage we know."""

from __future__ import annotations

import os
from collections.abc import Iterator

from backends.identity import DIRECTORY, MARKER_BYTES, known_ids, require
from backends.keys import is_key
from backends.lookups import open_file

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NOT_CONTENT = frozenset({"tmp", "lost+found", DIRECTORY})


class Known:
    """Recognises a storage by its identity.

    expected_id   must be among the ids; None = the first one met, and that one from then on
    """

    def __init__(self, expected_id: str | None) -> None:
        self._expected_id = expected_id

    def __call__(self, path: str, fd: int) -> str:
        """Return the path below fd of the identity file to watch.

            path   of the storage, for the message
        Raises: Unavailable, OSError.
        """
        found = require(self._expected_id, set(known_ids(_markers(fd))), path)
        self._expected_id = found
        return f"{DIRECTORY}/{found}"


def anything(path: str, fd: int) -> str:
    """Accept any directory; the directory itself is what to watch."""
    return "."


def blank(fd: int) -> bool:
    """Whether a directory holds no file but what no one would miss: tmp/, lost+found/, dot files.

    Empty directories are what a check or a start that was cut short leaves.

    Raises: OSError.
    """
    return all(
        name in _NOT_CONTENT or name.startswith(".") or _hollow(fd, name) for name in os.listdir(fd)
    )


def _hollow(parent_fd: int, name: str) -> bool:
    """Whether a name is a directory with nothing but directories in it, however deep."""
    try:
        fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent_fd)
    except NotADirectoryError:
        return False
    try:
        return all(_hollow(fd, child) for child in os.listdir(fd))
    finally:
        os.close(fd)


def _markers(fd: int) -> Iterator[tuple[str, bytes]]:
    try:
        directory = os.open(DIRECTORY, _DIRECTORY, dir_fd=fd)
    except FileNotFoundError:
        return
    try:
        for name in sorted(os.listdir(directory)):
            if is_key(f"{DIRECTORY}/{name}"):
                yield name, _contents(directory, name)
    finally:
        os.close(directory)


def _contents(directory: int, name: str) -> bytes:
    """Return what a marker holds; what is no file, or too large to be one, holds nothing."""
    try:
        fd, size = open_file(name, directory)
    except FileNotFoundError:
        return b""
    try:
        return os.read(fd, MARKER_BYTES) if size <= MARKER_BYTES else b""
    finally:
        os.close(fd)
