"""Which manifest records a mark saw: a storage that shows fewer of them later is not believed.

Removal is an addition, so no record ever goes without a trace. One that was seen and is listed no
more means that the listing is incomplete: a mount that went, a server that answers in part.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b

from backends import Backend, put, read_all
from backends.errors import Corrupt, NotFound

KEY = "gc/census"
MAX_BYTES = 1 << 30
_MARK_BYTES = 8


def key_of(node: str) -> str:
    """Key of the census; in a folder that is copied each node has its own."""
    return f"{KEY}-{node}" if node else KEY


class Census:
    """A set of keys, by 64-bit hashes: a storage may have millions."""

    def __init__(self, marks: array[int] | None = None) -> None:
        self._marks = array("Q") if marks is None else marks

    def __len__(self) -> int:
        return len(self._marks)

    def add(self, key: str) -> None:
        """Take note of a key."""
        digest = blake2b(key.encode(), digest_size=_MARK_BYTES).digest()
        self._marks.append(int.from_bytes(digest))

    def missing_in(self, later: Census) -> int:
        """How many of these a later census lacks."""
        return len(set(self._marks).difference(later._marks))

    def save(self, backend: Backend, node: str = "") -> None:
        """Keep it for the next run, of this node where each has its own; see key_of.

        Raises: Full, Unavailable.
        """
        marks = array("Q", self._marks)
        marks.byteswap()
        put(backend, key_of(node), marks.tobytes())

    @classmethod
    def load(cls, backend: Backend, node: str = "") -> Census:
        """The one that was kept; empty if none was. Raises: Unavailable, Corrupt."""
        try:
            data = read_all(backend, key_of(node), MAX_BYTES)
        except NotFound:
            return cls()
        if len(data) % _MARK_BYTES:
            raise Corrupt(f"{key_of(node)} is cut short")
        marks = array("Q", data)
        marks.byteswap()
        return cls(marks)
