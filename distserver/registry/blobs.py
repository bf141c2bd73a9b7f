"""Blobs of a repository: content that it has a live record of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from backends.base import Reader
from backends.errors import Corrupt, NotFound
from distserver.oci.digests import Digest
from distserver.oci.errors import BlobUnknown, Purged
from distserver.registry import layout
from distserver.registry.content import Content
from distserver.registry.records import RecordStore


@dataclass(frozen=True, slots=True)
class Found:
    """A blob that can be read: its size in bytes, and what opens the half-open range of it."""

    size: int
    open: Callable[[int, int | None], Reader]


class Blobs:
    """What end-2, end-4b, end-10 and end-11 ask. Bytes are shared, rights to read are not."""

    def __init__(self, content: Content, records: RecordStore) -> None:
        self._content = content
        self._records = records

    def size(self, name: str, digest: Digest) -> int:
        """Return the bytes of a blob. Raises: BlobUnknown, Unavailable, Corrupt."""
        if not self._readable(name, digest):
            raise BlobUnknown(detail={"digest": str(digest)})
        try:
            return self._content.size(digest)
        except NotFound as exc:
            raise BlobUnknown(detail={"digest": str(digest)}) from exc

    def has(self, name: str, digest: Digest) -> bool:
        """Whether this repository can serve the blob: a damaged one must be pushed again.

        Raises: Unavailable.
        """
        try:
            self.size(name, digest)
        except (BlobUnknown, Corrupt):
            return False
        return True

    def arrived(self, name: str, digest: Digest) -> bool:
        """Whether nothing of it is on its way here: what was removed, purged, or rotted, is not.

        Raises: Unavailable.
        """
        records = self._records.read(layout.blob_records(name, digest))
        if not records.live:
            return bool(records.gone)
        try:
            self._content.size(digest)
        except NotFound:
            return False
        except (Corrupt, Purged):
            return True
        return True

    def held_size(self, name: str, digest: Digest) -> int:
        """As size, of what is stored here and nowhere else: whether a push has to bring it."""
        return self.size(name, digest)

    def find(self, name: str, digest: Digest) -> Found:
        """Return a blob to be read. Raises: as size; what it opens raises as open."""
        return Found(self.size(name, digest), partial(self.open, name, digest))

    def open(self, name: str, digest: Digest, start: int = 0, stop: int | None = None) -> Reader:
        """Open a blob, or a half-open range of it; see Content.open.

        Raises: BlobUnknown, RangeInvalid, Unavailable, Corrupt.
        """
        if not self._readable(name, digest):
            raise BlobUnknown(detail={"digest": str(digest)})
        try:
            return self._content.open(digest, start, stop)
        except NotFound as exc:
            raise BlobUnknown(detail={"digest": str(digest)}) from exc

    def note_hit(self, name: str, count: int) -> None:
        """Count bytes that are served from what is held here; nothing to count without upstream."""

    def put(self, name: str, digest: Digest, body: Iterable[bytes]) -> None:
        """Store a blob that comes whole. Raises: DigestInvalid, what body raises, Full."""
        self._content.put(digest, body)
        self.record(name, digest)

    def record(self, name: str, digest: Digest) -> None:
        """Allow the repository to read content that is stored. Raises: Full, Unavailable."""
        self._records.ensure(layout.blob_records(name, digest))

    def mount(self, name: str, digest: Digest, source: str) -> bool:
        """Record a blob of another repository here; False if that one does not have it.

        The caller must have the right to read the source. Raises: Full, Unavailable.
        Spec: end-11.
        """
        if not self.has(source, digest):
            return False
        self.record(name, digest)
        return True

    def delete(self, name: str, digest: Digest) -> None:
        """Take the blob from this repository only. Raises: BlobUnknown, Full, Unavailable."""
        if not self._records.remove(layout.blob_records(name, digest)):
            raise BlobUnknown(detail={"digest": str(digest)})

    def _readable(self, name: str, digest: Digest) -> bool:
        self._content.denied.require(digest)
        return bool(self._records.read(layout.blob_records(name, digest)).live)
