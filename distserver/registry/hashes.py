"""Hashes of a stream: its digest, and what proves its parts."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from backends.base import Writer
from distserver.oci.digests import Digest, new_hash
from distserver.registry.verified import CHUNK_BYTES

_WORTH_A_THREAD = 128 << 10


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Threads that hash beside the ones that receive; made at the first push, so after the fork."""
    return ThreadPoolExecutor(os.cpu_count(), "hash")


class Hashes:
    """The digest of a stream and the SHA-256 of each of its 1 MiB chunks, in one pass."""

    def __init__(self, algorithm: str = "sha256") -> None:
        self.algorithm = algorithm
        self.size = 0
        self._whole = new_hash(algorithm)
        self._chunk = hashlib.sha256()
        self._chunks: list[bytes] = []

    def update(self, data: bytes) -> None:
        """Take the next bytes of the stream; both hashes run at once where there are two cores."""
        if len(data) < _WORTH_A_THREAD:
            self._whole.update(data)
            self._update_chunks(memoryview(data))
            return
        try:
            whole = _threads().submit(self._whole.update, data)
        except RuntimeError:  # the process ends while a fetch goes on: no thread is lent any more
            self._whole.update(data)
            self._update_chunks(memoryview(data))
            return
        self._update_chunks(memoryview(data))
        whole.result()

    def _update_chunks(self, view: memoryview) -> None:
        while view:
            room = CHUNK_BYTES - self.size % CHUNK_BYTES
            part, view = view[:room], view[room:]
            self._chunk.update(part)
            self.size += len(part)
            if len(part) == room:
                self._chunks.append(self._chunk.digest())
                self._chunk = hashlib.sha256()

    def copy(self) -> Hashes:
        """Return hashes of the same bytes, to go on with in another way."""
        twin = Hashes(self.algorithm)
        twin.size, twin._chunks = self.size, list(self._chunks)
        twin._whole, twin._chunk = self._whole.copy(), self._chunk.copy()
        return twin

    @property
    def digest(self) -> Digest:
        """Digest of all that was taken."""
        return Digest(self.algorithm, self._whole.hexdigest())

    @property
    def chunks(self) -> bytes:
        """Hashes of the chunks, 32 bytes each; empty for a stream of one chunk or less."""
        if self.size <= CHUNK_BYTES:
            return b""
        rest = [self._chunk.digest()] if self.size % CHUNK_BYTES else []
        return b"".join(self._chunks + rest)


def fill(writer: Writer, body: Iterable[bytes], algorithm: str) -> Hashes:
    """Write a stream and hash it. Raises: what the body raises; Full, Unavailable."""
    hashes = Hashes(algorithm)
    for data in body:
        writer.write(data)
        hashes.update(data)
    return hashes
