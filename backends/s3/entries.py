"""What the bytes of an entry's object mean. Pure.

Its first byte is a kind: 0 = the bytes of the entry follow, 1 = a pointer to a data object follows.
They are never told apart by their contents: anybody could push what looks like a pointer. Pointers
have one length and are determined by what they name, so that a sweep can tell from a listing alone,
by size and ETag, which data is named.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

from backends.errors import Corrupt

SMALL_BYTES = 64 * 1024
"""The largest entry whose bytes are in its own object."""
HEAD_BYTES = 1 + SMALL_BYTES
"""So many bytes of an object are a whole small entry, or a pointer."""
_BYTES, _POINTER = b"\x00", b"\x01"
_POINTER_TEXT = re.compile(rb"([0-9a-f]{32})([0-9]{20})")
POINTER_BYTES = 1 + 32 + 20


@dataclass(frozen=True, slots=True)
class Pointer:
    """A data object, by its id of 32 hex digits, and its size in bytes."""

    data_id: str
    size: int

    def encode(self) -> bytes:
        """What an object holds that is this pointer."""
        return _POINTER + f"{self.data_id}{self.size:020}".encode()


def new_data_id() -> str:
    """Return a name for data that nobody else will choose."""
    return uuid.uuid4().hex


def encode_small(data: bytes) -> bytes:
    """What an object holds that is this small entry."""
    return _BYTES + data


def decode(name: str, head: bytes, total: int) -> bytes | Pointer:
    """Return a small entry's bytes, or the pointer.

        head   the first HEAD_BYTES of the object
        total  bytes of the object
    Raises: Corrupt if we did not write this.
    """
    kind, rest = head[:1], head[1:]
    if kind == _BYTES and len(head) == total:
        return rest
    text = _POINTER_TEXT.fullmatch(rest) if kind == _POINTER and total == len(head) else None
    if text is None:
        raise Corrupt(f"object {name} is none that we wrote")
    return Pointer(text[1].decode(), int(text[2]))


def size_of(name: str, head: bytes, total: int) -> int:
    """Return the size of an entry from the first POINTER_BYTES of its object.

    Raises: Corrupt, as decode.
    """
    if head[:1] == _BYTES:
        return total - 1
    found = decode(name, head, total)
    return found.size if isinstance(found, Pointer) else len(found)
