"""Bytes under their digest: hashed when written, verified before they are trusted when read.

Repositories and rights are not its business (blobs, manifests).
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from cachetools import LRUCache

from backends import Backend, put, read_all, space_of
from backends.base import Adopts, Proves, Reader
from backends.errors import Corrupt, Full, NotFound, Unavailable
from distserver.oci.digests import Digest, new_hash
from distserver.oci.errors import DigestInvalid
from distserver.registry import layout, verified
from distserver.registry.damaged import Damaged
from distserver.registry.denied import DenyList
from distserver.registry.hashes import fill
from distserver.registry.trash import Trash
from distserver.registry.verified import CHUNK_BYTES, ChunkVerifier, WholeVerifier

log = logging.getLogger(__name__)

READ_BYTES = 1 << 20
MAX_CHUNK_HASH_BYTES = 64 << 20
"""Chunk hashes of a 2 TiB entry; a longer list is refused rather than read."""

LOOKS = 2
T = TypeVar("T")
Alarm = Callable[[Digest], None]
"""Told of each copy that is found damaged."""


def no_alarm(digest: Digest) -> None:
    """Leave an alarm to the log."""


class Content:
    """Entries named by their digest.

    denied  what is neither served nor taken: each method that does so raises Purged
    """

    def __init__(
        self, backend: Backend, alarm: Alarm = no_alarm, denied: DenyList | None = None
    ) -> None:
        self._backend, self._alarm = backend, alarm
        self.denied = denied or DenyList(backend)
        self._proves = isinstance(backend, Proves)
        self._damaged, self._trash = Damaged(backend), Trash(backend)
        self._intact: LRUCache[verified.Identity, bool] = LRUCache(maxsize=100_000)
        self._lock = threading.Lock()

    def size(self, digest: Digest) -> int:
        """Return the size in bytes of stored content.

        Raises: NotFound, Unavailable, Corrupt (the copy was found damaged before).
        """
        self.denied.require(digest)
        try:
            size = self._in_place(digest, self._backend.stat).size
        except Corrupt:
            if not self._damaged.has(digest):
                self.corrupt(digest)
            raise
        if self._damaged.has(digest):
            raise Corrupt(str(digest))
        return size

    def put(self, digest: Digest, body: Iterable[bytes]) -> int:
        """Store a stream under the digest it must have, replacing an older copy; return its size.

        Replacing is what heals: a copy that rotted is gone once the same content was pushed again.
        Raises: DigestInvalid (nothing is stored), what the body raises, Full, Unavailable.
        """
        self.denied.require(digest)
        with self._backend.create() as writer:
            hashes = fill(writer, body, digest.algorithm)
            if hashes.digest != digest:
                raise DigestInvalid(f"the content has the digest {hashes.digest}, not {digest}")
            self.denied.require(digest)  # again: the body may have taken hours
            self._damaged.keep_aside(digest)
            writer.commit(layout.blob(digest))
        self.put_chunks(digest, hashes.chunks)
        self._damaged.clear(digest)
        return hashes.size

    def add(self, body: Iterable[bytes]) -> Digest:
        """Store a stream whose digest nobody knows yet; return its SHA-256.

        Raises: what the body raises (nothing is stored), Full, Unavailable.
        """
        with self._backend.create() as writer:
            hashes = fill(writer, body, "sha256")
            self.denied.require(hashes.digest)
            self._damaged.keep_aside(hashes.digest)
            writer.commit(layout.blob(hashes.digest))
        self.put_chunks(hashes.digest, hashes.chunks)
        self._damaged.clear(hashes.digest)
        return hashes.digest

    def holds(self, digest: Digest, size: int) -> bool:
        """Whether content of this size is stored, and no damage known. Raises: Unavailable."""
        try:
            return self.size(digest) == size
        except (NotFound, Corrupt):
            return False

    def take(self, path: str, digest: Digest, chunks: bytes) -> None:
        """Take over a local file whose digest was proved; it may be gone from its place then.

            chunks  its Hashes.chunks
        Without a copy where the storage lies on the file's own file system.
        Raises: DigestInvalid (the copy proved otherwise), OSError (reading), Full, Unavailable.
        """
        self.denied.require(digest)
        self.put_chunks(digest, chunks)  # first: who reads what was just taken hashes a chunk only
        if isinstance(self._backend, Adopts):
            try:
                self._damaged.keep_aside(digest)
                self._backend.adopt(path, layout.blob(digest))
            except Unavailable as exc:
                log.debug("%s is copied, it cannot be adopted: %s", digest, exc)
            else:
                self._damaged.clear(digest)
                return
        with open(path, "rb") as file:  # noqa: PTH123
            self._require_room(os.fstat(file.fileno()).st_size)
            self.put(digest, iter(lambda: file.read(READ_BYTES), b""))

    def link(self, source: str, digest: Digest) -> None:
        """Publish a stored entry whose digest was proved while it was written.

        Raises: NotFound (source), Full, Unavailable.
        """
        self.denied.require(digest)
        self._damaged.keep_aside(digest)
        self._backend.link(source, layout.blob(digest))
        self._damaged.clear(digest)

    def _in_place(self, digest: Digest, call: Callable[[str], T]) -> T:
        """Call with the key of content; what lies in the trash is brought back first.

        Looks more than once: between two looks the collector may have moved it to and fro.
        Raises: NotFound (it is in neither), what the call raises, Unavailable.
        """
        key, restored = layout.blob(digest), False
        for _ in range(LOOKS):
            try:
                return call(key)
            except NotFound:
                restored |= self._trash.restore(digest)
        try:
            return call(key)
        except NotFound as exc:
            if restored:
                raise Unavailable(f"{digest} is taken away again and again") from exc
            raise

    def _require_room(self, count: int) -> None:
        """Begin no copy that cannot end. Raises: Full, Unavailable."""
        space = space_of(self._backend)
        if space and space.usable_bytes < count:
            raise Full(f"no room for {count >> 20} MiB more")

    def put_chunks(self, digest: Digest, chunks: bytes) -> None:
        """Store the chunk hashes of content of more than one chunk. Raises: Full, Unavailable."""
        if chunks:
            put(self._backend, layout.chunks(digest), chunks)

    def put_small(self, digest: Digest, data: bytes) -> None:
        """Store data unless an intact copy is there. Raises: Full, Unavailable."""
        self.denied.require(digest)
        try:
            if read_all(self._backend, layout.blob(digest), len(data)) == data:
                self.proved(digest)
                return
        except (NotFound, Corrupt):
            log.debug("no intact copy of %s, writing one", digest)
        self.put(digest, [data])

    def read(self, digest: Digest, limit: int) -> bytes:
        """Return all bytes, verified. Raises: NotFound, Unavailable, Corrupt (also: over limit)."""
        self.denied.require(digest)
        with self._alarmed(digest), self.raw(digest, 0) as reader:
            data = reader.read() if reader.size <= limit else None
        if data is None:
            raise Corrupt(f"{digest} is larger than {limit} bytes")
        if Digest.of(data, digest.algorithm) != digest:
            raise self.corrupt(digest)
        return data

    def open(self, digest: Digest, start: int = 0, stop: int | None = None) -> Reader:
        """Open content, or a half-open range of it, so that no wrong byte is ever completed.

        The first read of a file in this process goes through its hash; later ones are plain.
        Raises: NotFound, RangeInvalid, Unavailable, Corrupt.
        Blocks on: opening, and reading the first chunk when the file was not verified before.
        """
        self.denied.require(digest)
        with self._alarmed(digest):
            reader = self._opened(digest, start, stop)
        if self._is_proved(reader):
            return reader
        if start == 0 and stop in (None, reader.size):
            proved = functools.partial(self._remember, reader)
            return verified.closing_on_error(
                reader, lambda: WholeVerifier(reader, digest, proved, self.corrupt)
            )
        reader.close()
        raw = self.raw(digest, start // CHUNK_BYTES * CHUNK_BYTES)
        return verified.closing_on_error(raw, lambda: ChunkVerifier(raw, self, digest, start, stop))

    def raw(self, digest: Digest, start: int) -> Reader:
        """Open content from start on, unverified. Raises: NotFound, RangeInvalid, Unavailable."""
        return self._in_place(digest, lambda key: self._backend.open(key, start))

    def chunk_hashes(self, digest: Digest, size: int) -> list[bytes] | None:
        """Return the stored chunk hashes of content of this size; None if there are none to use."""
        if size <= CHUNK_BYTES:
            return None
        count = -(-size // CHUNK_BYTES)
        try:
            data = read_all(self._backend, layout.chunks(digest), MAX_CHUNK_HASH_BYTES)
        except (NotFound, Corrupt):
            return None
        if len(data) != 32 * count:
            return None
        return [data[i : i + 32] for i in range(0, len(data), 32)]

    def verify(self, digest: Digest) -> int:
        """Read all of it and compare; return its size. Raises: NotFound, Unavailable, Corrupt."""
        with self._alarmed(digest), self.raw(digest, 0) as reader:
            found = new_hash(digest.algorithm)
            while data := reader.read(READ_BYTES):
                found.update(data)
            if found.hexdigest() != digest.hex:
                raise self.corrupt(digest)
            self._remember(reader)
            return reader.size

    def proved(self, digest: Digest) -> None:
        """Take note that the stored copy is good: an older alarm is over. Raises: Unavailable."""
        self._damaged.clear(digest)

    def damaged(self) -> frozenset[Digest]:
        """Return what is stored in damaged copies, as far as is known. Raises: Unavailable."""
        return self._damaged.all()

    def corrupt(self, digest: Digest) -> Corrupt:
        """Raise the alarm about stored bytes; return the error to raise."""
        log.error("stored content is damaged: %s", digest)
        self._alarm(digest)
        self._damaged.mark(digest)
        return Corrupt(str(digest))

    @contextmanager
    def _alarmed(self, digest: Digest) -> Iterator[None]:
        """Raise the alarm where a storage knows by itself that it has no good copy."""
        try:
            yield
        except Corrupt as exc:
            raise self.corrupt(digest) from exc

    def _opened(self, digest: Digest, start: int, stop: int | None) -> Reader:
        """Open what is stored, unverified but by a storage that does so itself."""
        reader = self._in_place(digest, lambda key: self._backend.open(key, start, stop))
        return verified.ProvedReader(reader, digest, self.corrupt) if self._proves else reader

    def _is_proved(self, reader: Reader) -> bool:
        """Whether the storage proves it, or this version of a local file was proved already."""
        if isinstance(reader, verified.ProvedReader):
            return True
        identity = verified.identity(reader)
        with self._lock:
            return identity in self._intact

    def _remember(self, reader: Reader) -> None:
        """Take note that what was read proved right."""
        if identity := verified.identity(reader):
            with self._lock:
                self._intact[identity] = True
