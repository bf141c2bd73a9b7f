"""The one place where an OSError becomes an error of backends.errors."""

from __future__ import annotations

import errno

from backends.errors import Full, StorageError, Unavailable

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def write_failure(exc: OSError, what: str) -> StorageError:
    """Return what to raise when nothing became visible: Full for want of room, else Unavailable."""
    if exc.errno in _NO_ROOM:
        return Full(f"{what}: {exc.strerror}")
    return unavailable(exc, what)


def unavailable(exc: OSError, what: str) -> Unavailable:
    """Return the error for a storage that could not be asked, or whose answer was lost."""
    return Unavailable(f"{what}: {exc.strerror or exc}")
