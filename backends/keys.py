"""The grammar of keys: the one gate between texts of a caller and paths of a file system.

A key is 1..1024 bytes: components separated by "/", each 1..255 bytes of A-Z a-z 0-9 . _ ! = + @ -
and none beginning with "." (so neither "..", nor the files of Syncthing, NFS and editors).
`tmp/` and `lost+found/` at the top belong to the storage, and a last component with
`.sync-conflict-` to Syncthing: these are no keys either. No I/O here.
"""

from __future__ import annotations

import re

from backends.errors import InvalidKey

MAX_KEY_BYTES = 1024
TEMPORARY = "tmp"
UPLOADS = "_uploads"
_RESERVED = frozenset({TEMPORARY, "lost+found"})
_CONFLICT = ".sync-conflict-"
_COMPONENT = re.compile(r"[A-Za-z0-9_!=+@-][A-Za-z0-9._!=+@-]{0,254}")
_PATH = re.compile(f"{_COMPONENT.pattern}(?:/{_COMPONENT.pattern})*")


def validate_key(key: str) -> str:
    """Return the key. Raises: InvalidKey."""
    if not is_key(key):
        raise InvalidKey(f"not a key: {key[:200]!r}")
    return key


def validate_prefix(prefix: str) -> str:
    """Return the prefix, "" or components with a "/" after each. Raises: InvalidKey."""
    if prefix and not (prefix.endswith("/") and _well_formed(prefix[:-1])):
        raise InvalidKey(f"not a prefix of keys: {prefix[:200]!r}")
    return prefix


def is_key(text: str) -> bool:
    """Whether a text found in a storage is a key; what is none is not ours and stays invisible."""
    return _well_formed(text) and _CONFLICT not in text[text.rfind("/") + 1 :]


def is_directory(text: str) -> bool:
    """Whether a path found in a storage (no "/" at its end) can be a parent of keys."""
    return _well_formed(text)


def parent(path: str) -> str:
    """Return the path without its last component; "" is the root."""
    return path[: max(path.rfind("/"), 0)]


def _well_formed(path: str) -> bool:
    return (
        len(path) <= MAX_KEY_BYTES
        and _PATH.fullmatch(path) is not None
        and path.partition("/")[0] not in _RESERVED
    )
