"""Upload sessions as entries: any process, on any host, can go on where another stopped.

A session exists while its `_open` entry does. Each body is an entry of its own, named by
where it starts, how long it is and its SHA-256: an acknowledged piece outlives the process that
took it, and a piece that is sent twice is the same entry.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from backends import Backend, put, read_all
from backends.errors import NotFound
from distserver.oci.digests import Digest
from distserver.oci.errors import (
    BlobUploadUnknown,
    ChunkOutOfOrder,
    DigestInvalid,
    Purged,
    SizeInvalid,
)
from distserver.oci.ranges import ByteRange
from distserver.registry import layout
from distserver.registry.blobs import Blobs
from distserver.registry.content import READ_BYTES, Content
from distserver.registry.hashes import fill

_PIECE = re.compile(r"([0-9]{20})-([0-9]{1,18})-([0-9a-f]{64})")
_SESSION = re.compile(r"[0-9a-f]{32}")
MAX_OPEN_BYTES = 4096


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """One body of a session.

    start, size  bytes
    sha256       hexadecimal
    """

    start: int
    size: int
    sha256: str

    @property
    def stop(self) -> int:
        """Offset of the first byte after it."""
        return self.start + self.size

    def __str__(self) -> str:
        return f"{self.start:020d}-{self.size}-{self.sha256}"

    @classmethod
    def parse(cls, text: str) -> Piece | None:
        """Read a piece's name; None for anything else that lies in the directory."""
        match = _PIECE.fullmatch(text)
        return cls(int(match[1]), int(match[2]), match[3]) if match else None

    def overlaps(self, other: Piece) -> bool:
        """Whether the two claim a common byte and are not the same piece."""
        return self != other and self.start < other.stop and other.start < self.stop


def end_of(pieces: Sequence[Piece]) -> int:
    """Return how many bytes from 0 on the pieces cover without a gap. Pure."""
    end = 0
    for piece in sorted(pieces):
        if piece.start <= end:
            end = max(end, piece.stop)
    return end


class Uploads:
    """What end-4 to end-6, end-13 and end-14 ask. A session of another user is an unknown one."""

    def __init__(self, backend: Backend, content: Content, blobs: Blobs) -> None:
        self._backend, self._content, self._blobs = backend, content, blobs

    def begin(self, name: str, user: str) -> str:
        """Open a session and return its id. Raises: Full, Unavailable. Spec: end-4."""
        session = secrets.token_hex(16)
        opened = json.dumps({"user": user, "time": int(time.time())}).encode()
        put(self._backend, layout.upload(name, session) + layout.OPEN, opened)
        return session

    def size(self, name: str, session: str, user: str) -> int:
        """Return how many bytes a session holds. Raises: BlobUploadUnknown, Unavailable. end-13."""
        self._require(name, session, user)
        return end_of(self._pieces(name, session))

    def append(
        self, name: str, session: str, user: str, body: Iterable[bytes], at: ByteRange | None
    ) -> int:
        """Add a body to the session and return how many bytes it holds then.

            at  where the client says the body belongs; None = at the end
        A body that was taken already is out of order (the conformance suite asks it): the client
        then asks for the size and goes on from there.
        Raises: BlobUploadUnknown, ChunkOutOfOrder, SizeInvalid (nothing was added then), what the
        body raises, Full, Unavailable. Spec: end-5.
        """
        return self._append(name, session, user, body, at)[1]

    def finish(
        self,
        name: str,
        session: str,
        user: str,
        digest: Digest,
        last: tuple[Iterable[bytes], ByteRange | None] | None = None,
    ) -> None:
        """Publish what the session holds as a blob of the repository and end the session.

            last  a final body and where it belongs, as append takes them
        A session that is closed already, and whose blob is here, is answered like the first time.
        Raises: as append; DigestInvalid (the session is as it was before). Spec: end-6.
        """
        self._refuse_purged(name, session, user, digest)
        if last is None and self._finished_before(name, session, user, digest):
            return
        added = self._append(name, session, user, *last)[0] if last else None
        try:
            self._publish(name, session, digest)
        except (DigestInvalid, NotFound) as exc:
            if added:
                self._backend.delete(layout.upload(name, session) + str(added))
            if isinstance(exc, DigestInvalid):
                raise
            # Another request on this session took a piece away between our listing and our look.
            offset = end_of(self._pieces(name, session))
            raise ChunkOutOfOrder(detail={"offset": offset}) from exc
        self._blobs.record(name, digest)
        self.discard(name, session)

    def cancel(self, name: str, session: str, user: str) -> None:
        """End a session, forget its bytes. Raises: BlobUploadUnknown, Unavailable. Spec: end-14."""
        self._require(name, session, user)
        self.discard(name, session)

    def discard(self, name: str, session: str) -> None:
        """Remove a session, first that it exists, then its pieces. Raises: Unavailable."""
        prefix = layout.upload(name, session)
        self._backend.delete(prefix + layout.OPEN)
        for key in list(self._backend.keys(prefix)):
            self._backend.delete(key)

    def _refuse_purged(self, name: str, session: str, user: str, digest: Digest) -> None:
        """End a session that would bring purged content back. Raises: Purged, as cancel."""
        try:
            self._content.denied.require(digest)
        except Purged:
            self.cancel(name, session, user)
            raise

    def _finished_before(self, name: str, session: str, user: str, digest: Digest) -> bool:
        try:
            self._require(name, session, user)
        except BlobUploadUnknown:
            if self._blobs.has(name, digest):
                return True
            raise
        return False

    def _append(
        self, name: str, session: str, user: str, body: Iterable[bytes], at: ByteRange | None
    ) -> tuple[Piece | None, int]:
        """As append; returns also the piece that was added."""
        self._require(name, session, user)
        pieces = self._pieces(name, session)
        end = end_of(pieces)
        if at and at.start != end:
            raise ChunkOutOfOrder(detail={"offset": end})
        piece = self._write(name, session, body, at or ByteRange(end, end), pieces)
        return piece, end if piece is None else self._settle(name, session, piece)

    def _require(self, name: str, session: str, user: str) -> None:
        if not _SESSION.fullmatch(session):
            raise BlobUploadUnknown
        try:
            opened = read_all(
                self._backend, layout.upload(name, session) + layout.OPEN, MAX_OPEN_BYTES
            )
        except NotFound as exc:
            raise BlobUploadUnknown from exc
        if _user(opened) != user:
            raise BlobUploadUnknown

    def _pieces(self, name: str, session: str) -> list[Piece]:
        prefix = layout.upload(name, session)
        names = (key[len(prefix) :] for key in self._backend.keys(prefix))
        return [piece for piece in map(Piece.parse, names) if piece]

    def _write(
        self,
        name: str,
        session: str,
        body: Iterable[bytes],
        at: ByteRange,
        pieces: Sequence[Piece],
    ) -> Piece | None:
        """Store a body as a piece; None for an empty one, which writes nothing."""
        with self._backend.create() as writer:
            hashes = fill(writer, body, "sha256")
            if at.stop > at.start and hashes.size != at.stop - at.start:
                raise SizeInvalid("the body is not as long as its Content-Range")
            piece = Piece(at.start, hashes.size, hashes.digest.hex)
            if not piece.size:
                return None
            if any(piece.overlaps(other) for other in pieces):
                raise ChunkOutOfOrder(detail={"offset": end_of(pieces)})
            self._content.denied.require(hashes.digest)
            if piece not in pieces:
                self._content.put_chunks(hashes.digest, hashes.chunks)
                writer.commit(layout.upload(name, session) + str(piece))
        return piece

    def _settle(self, name: str, session: str, piece: Piece) -> int:
        """Look again: a piece that another request contradicts meanwhile is taken back."""
        key = layout.upload(name, session) + str(piece)
        pieces = self._pieces(name, session)
        if any(piece.overlaps(other) for other in pieces):
            self._backend.delete(key)
            raise ChunkOutOfOrder(detail={"offset": end_of([p for p in pieces if p != piece])})
        try:
            self._backend.stat(layout.upload(name, session) + layout.OPEN)
        except NotFound as exc:
            self._backend.delete(key)
            raise BlobUploadUnknown from exc
        return end_of(pieces)

    def _publish(self, name: str, session: str, digest: Digest) -> None:
        pieces = sorted(self._pieces(name, session))
        prefix = layout.upload(name, session)
        if [(p.start, p.sha256) for p in pieces] == [(0, digest.hex)]:
            self._link(prefix + str(pieces[0]), pieces[0].size, digest)
            return
        if len(pieces) == 1 and digest.algorithm == "sha256":
            raise DigestInvalid(
                f"the content has the digest sha256:{pieces[0].sha256}, not {digest}"
            )
        self._content.put(digest, self._joined(prefix, pieces))

    def _link(self, key: str, size: int, digest: Digest) -> None:
        """Publish a piece as it is.

        Its SHA-256 was taken while it was written: the same proof as reading it again, unless the
        storage has damaged it since, of which the cheap sign is its size.
        """
        if self._backend.stat(key).size != size:
            raise self._content.corrupt(digest)
        self._content.link(key, digest)

    def _joined(self, prefix: str, pieces: Sequence[Piece]) -> Iterator[bytes]:
        for piece in pieces:
            with self._backend.open(prefix + str(piece)) as reader:
                while data := reader.read(READ_BYTES):
                    yield data


def _user(opened: bytes) -> str | None:
    """The user that a session's `_open` entry names; None if it is damaged."""
    try:
        user = json.loads(opened)["user"]
    except (ValueError, KeyError, TypeError):
        return None
    return user if isinstance(user, str) else None
