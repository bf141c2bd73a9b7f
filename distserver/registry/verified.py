"""Readers that refuse to end well on wrong bytes."""

from __future__ import annotations

import hashlib
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from backends.base import Reader
from backends.errors import Corrupt, RangeInvalid, StorageError
from backends.helpers import read_exactly
from distserver.oci.digests import Digest

if TYPE_CHECKING:
    from distserver.registry.content import Content

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
HOLD_BACK_BYTES = 64 << 10
"""The end of a body that is not sent before the digest of the whole is proved."""

Identity = tuple[int, int, int, int]
"""What tells one version of a local file from every other: device, inode, time and size."""


class _Wrapper(ABC):
    """What these readers share: a size, and an inner reader to close."""

    def __init__(self, inner: Reader) -> None:
        self._inner = inner
        self.size = inner.size

    def read(self, n: int = -1) -> bytes:
        """See Reader.read. Raises: Corrupt before a wrong byte is returned."""
        if n >= 0:
            return self._piece(n)
        return b"".join(iter(lambda: self._piece(CHUNK_BYTES), b""))

    @abstractmethod
    def _piece(self, n: int) -> bytes:
        """Return up to n bytes; b"" only at the end. Raises: as read."""

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class ProvedReader(_Wrapper):
    """Reads what the storage proves itself; raises the alarm when it has no good copy."""

    def __init__(self, inner: Reader, digest: Digest, corrupt: Callable[[Digest], Corrupt]) -> None:
        super().__init__(inner)
        self._digest, self._corrupt = digest, corrupt

    def _piece(self, n: int) -> bytes:
        try:
            return self._inner.read(n)
        except Corrupt as exc:
            raise self._corrupt(self._digest) from exc


class WholeVerifier(_Wrapper):
    """Passes a whole entry through its hash; the last 64 KiB wait until the digest is proved.

    The first 1 MiB is read before the constructor returns, so that what fails there can still be
    told; an entry that is not larger than both together is proved by then.
    """

    def __init__(
        self,
        inner: Reader,
        digest: Digest,
        proved: Callable[[], None],
        corrupt: Callable[[Digest], Corrupt],
    ) -> None:
        super().__init__(inner)
        self._digest = digest
        self._hash = digest.hasher()
        self._proved, self._corrupt = proved, corrupt
        self._free = max(0, self.size - HOLD_BACK_BYTES)
        self._tail = memoryview(b"") if self._free else self._prove()
        self._head = memoryview(self._next(CHUNK_BYTES) if self._free else b"")

    def _piece(self, n: int) -> bytes:
        if self._head:
            data, self._head = bytes(self._head[:n]), self._head[n:]
            return data
        if self._free:
            return self._next(n)
        data, self._tail = bytes(self._tail[:n]), self._tail[n:]
        return data

    def _next(self, n: int) -> bytes:
        data = self._inner.read(min(n, self._free))
        self._hash.update(data)
        self._free -= len(data)
        if not self._free:
            self._tail = self._prove()
        return data

    def _prove(self) -> memoryview:
        tail = read_exactly(self._inner, min(self.size, HOLD_BACK_BYTES))
        self._hash.update(tail)
        if self._hash.hexdigest() != self._digest.hex:
            raise self._corrupt(self._digest)
        self._proved()
        return memoryview(tail)


class ChunkVerifier(_Wrapper):
    """Reads a range chunk by chunk, each checked against its hash before a byte of it leaves.

    The inner reader stands at the start of the range's first chunk, which is checked before the
    constructor returns. Where chunk hashes are missing or do not fit, the whole entry is verified
    once instead.
    """

    def __init__(
        self, inner: Reader, content: Content, digest: Digest, start: int, stop: int | None
    ) -> None:
        super().__init__(inner)
        self._content, self._digest = content, digest
        self._position, self._index = start, start // CHUNK_BYTES
        self._stop = self.size if stop is None else stop
        self._buffer = memoryview(b"")
        if not start <= self._stop <= self.size:
            raise RangeInvalid(f"{start}-{stop} of {self.size}")
        self._hashes = content.chunk_hashes(digest, self.size)
        if self._hashes is None:
            content.verify(digest)
        self._fill()

    def _piece(self, n: int) -> bytes:
        if not self._buffer:
            self._fill()
        data, self._buffer = bytes(self._buffer[:n]), self._buffer[n:]
        return data

    def _fill(self) -> None:
        if self._position >= self._stop:
            return
        begin = self._index * CHUNK_BYTES
        chunk = read_exactly(self._inner, min(CHUNK_BYTES, self.size - begin))
        self._check(chunk)
        wanted = memoryview(chunk)[self._position - begin : self._stop - begin]
        self._position += len(wanted)
        self._index += 1
        self._buffer = wanted

    def _check(self, chunk: bytes) -> None:
        if self._hashes and hashlib.sha256(chunk).digest() != self._hashes[self._index]:
            log.warning("chunk %d of %s does not fit its hash", self._index, self._digest)
            self._content.verify(self._digest)
            self._hashes = None


def closing_on_error(reader: Reader, make: Callable[[], Reader]) -> Reader:
    """Return what make returns; close the reader first if it fails."""
    try:
        return make()
    except StorageError:
        reader.close()
        raise


def identity(reader: Reader) -> Identity | None:
    """Tell one version of a local file from every other; None where there is no file to ask."""
    fileno = getattr(reader, "fileno", None)
    if fileno is None:
        return None
    try:
        status = os.fstat(fileno())
    except OSError as exc:
        # Without an identity the content is verified now, and again next time.
        log.warning("a stored file does not tell its identity: %s", exc)
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
