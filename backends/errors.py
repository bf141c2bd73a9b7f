"""The only errors that leave a backend.

    StorageError
    ├── NotFound       the storage said that there is no such key
    ├── Unavailable    could not be asked: timeout, stale handle, refused login, no mount
    │   └── Incomplete   a listing that ended, but may lack keys: too few replicas answered
    ├── Full           no room for this write: disk, inodes, quota or our own reserve
    ├── Corrupt        the bytes that are stored are not the bytes that were written
    ├── RangeInvalid   a start or stop outside 0..size
    └── InvalidKey     the text is not a key: a mistake of the caller, or an attack

Only NotFound may become a 404 or a cache miss.
"""

from __future__ import annotations


class StorageError(Exception):
    """Base of all errors of a storage; never raised itself."""


class NotFound(StorageError):
    """The storage answered: no entry has this key."""


class Unavailable(StorageError):
    """The storage gave no answer that can be trusted; nothing is known about the key."""


class Incomplete(Unavailable):
    """The keys that were yielded are there; others may be, too. Only at the end of a listing."""


class Full(StorageError):
    """The write was refused for want of room; nothing became visible."""


class Corrupt(StorageError):
    """An entry is there, but its bytes are wrong."""


class RangeInvalid(StorageError):
    """start or stop is outside 0 <= start <= stop <= size."""


class InvalidKey(StorageError):
    """The key is outside the grammar of backends.keys."""
