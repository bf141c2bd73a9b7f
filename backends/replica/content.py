"""What a set knows of its keys: which ones are named by the digest of their bytes, and the proof.

The one place in backends that knows a key layout (that of distserver.registry.layout). Pure.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol

CHUNK_BYTES = 1 << 20
PRIVATE = "_store/"
"""Keys that each member has for itself: who it is."""
PASSING = ("hints/", "tmp/", "gc/", "trash/")
"""Keys that are nobody's loss: they are not carried from member to member by a repair."""
_BLOB = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]{2})/(\2[0-9a-f]{62}|\2[0-9a-f]{126})")
_LENGTH = {"sha256": 64, "sha512": 128}


@dataclass(frozen=True, slots=True)
class Content:
    """A key that is the digest of its bytes."""

    key: str
    algorithm: str
    digest: str

    @property
    def chunks(self) -> str:
        """Key of the SHA-256 of each 1 MiB."""
        return "chunks/" + self.key.removeprefix("blobs/")


def content_of(key: str) -> Content | None:
    """Return what the bytes of a key must hash to; None for a key that says nothing of them."""
    match = _BLOB.fullmatch(key)
    if not match or len(match[3]) != _LENGTH[match[1]]:
        return None
    return Content(key, match[1], match[3])


def is_kept_equal(key: str) -> bool:
    """Whether each member should have the key for good: not what comes and goes by itself."""
    return not key.startswith((PRIVATE, *PASSING)) and "/_uploads/" not in key


class Proof(Protocol):
    """Tells good bytes from bad ones."""

    def holds(self, index: int, data: bytes) -> bool:
        """Whether these are the bytes of the chunk with that number, from 0."""


class Unproved:
    """Nothing is known of the bytes: all are good."""

    def holds(self, index: int, data: bytes) -> bool:
        """See Proof.holds."""
        return True


@dataclass(frozen=True, slots=True)
class Whole:
    """Bytes of one chunk or less, by the digest itself."""

    content: Content

    def holds(self, index: int, data: bytes) -> bool:
        """See Proof.holds."""
        return hashlib.new(self.content.algorithm, data).hexdigest() == self.content.digest


@dataclass(frozen=True, slots=True)
class Chunks:
    """Bytes of several chunks, by the SHA-256 of each: 32 bytes a chunk."""

    hashes: bytes

    def holds(self, index: int, data: bytes) -> bool:
        """See Proof.holds."""
        return hashlib.sha256(data).digest() == self.hashes[32 * index : 32 * index + 32]


def chunk_count(size: int) -> int:
    """Return how many chunks that many bytes are; 1 for none."""
    return max(1, -(-size // CHUNK_BYTES))
