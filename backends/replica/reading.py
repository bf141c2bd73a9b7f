"""A reader that goes on with the next member, at the same place, when one fails or is wrong.

Entries are read in chunks of 1 MiB, each of which is proved before a byte of it is returned. Which
copies were found damaged is told, so that they can be mended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Self

from backends.base import Backend, Reader
from backends.errors import Corrupt, NotFound, StorageError, Unavailable
from backends.helpers import read_exactly
from backends.replica.asking import answer_of, words
from backends.replica.content import CHUNK_BYTES, Proof, chunk_count
from backends.replica.member import Member

CHUNK_SECONDS = 2.0
HEDGE_SECONDS = 0.05
LAST_SECONDS = 10.0
"""How long the last members are waited for when all others failed."""


class Copy:
    """What one member holds of an entry, read chunk by chunk.

    error  why it is of no more use; None as long as it is
    """

    def __init__(self, member: Member, key: str, size: int) -> None:
        self.member, self.key, self.size = member, key, size
        self.error: StorageError | None = None
        self._reader: Reader | None = None
        self._at = -1
        self._closed = False
        self._last: Future[bytes] | None = None

    @property
    def free(self) -> bool:
        """Whether it can be asked: it is no longer at an older question."""
        return self.error is None and (self._last is None or self._last.done())

    def chunk(self, index: int) -> Future[bytes]:
        """Begin to read a chunk, by number. One at a time."""
        self._last = self.member.ask(lambda backend: self._read(backend, index), CHUNK_SECONDS)
        return self._last

    def close(self) -> None:
        """Free what it holds; a thread that is at it does so at its end."""
        self._closed = True
        reader, self._reader = self._reader, None
        if reader:
            self.member.ask(lambda backend: reader.close())

    def _read(self, backend: Backend, index: int) -> bytes:
        start = index * CHUNK_BYTES
        reader, self._reader = self._reader, None
        if reader is None or self._at != index:
            reader = backend.open(self.key, start)
        try:
            data = read_exactly(reader, min(CHUNK_BYTES, self.size - start))
        except StorageError:
            reader.close()
            raise
        self._reader, self._at = reader, index + 1
        if self._closed:
            self.close()
        return data


class SetReader:
    """A Reader over the copies of an entry that have one size, the most promising one first.

    proof  what tells a good chunk
    learn  makes a better proof when all copies seem wrong; None = there is none
    bad    told of members whose copies are missing, or not what they should be
    Raises (also when it is made): Corrupt if all copies are wrong; Unavailable if some could not be
    read; NotFound if all are gone by now.
    """

    def __init__(
        self,
        copies: Sequence[Copy],
        proof: Proof,
        learn: Callable[[], Proof | None],
        span: tuple[int, int],
        bad: Callable[[Member], None],
    ) -> None:
        self.size = copies[0].size
        self._copies, self._proof, self._learn, self._bad = list(copies), proof, learn, bad
        self._position, self._stop = span
        self._buffer = memoryview(b"")
        self._patience = copies[0].member.latency * 2 + HEDGE_SECONDS
        try:
            self._fill()
        except StorageError:
            self.close()
            raise
        self._patience = CHUNK_SECONDS

    def read(self, n: int = -1) -> bytes:
        """See Reader.read. Raises: Corrupt before a wrong byte is returned."""
        if n >= 0:
            return self._piece(n)
        return b"".join(iter(lambda: self._piece(CHUNK_BYTES), b""))

    def close(self) -> None:
        """See Reader.close."""
        for copy in self._copies:
            copy.close()
        self._position = self._stop = 0
        self._buffer = memoryview(b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _piece(self, n: int) -> bytes:
        if not self._buffer and self._position < self._stop:
            self._fill()
        data, self._buffer = bytes(self._buffer[:n]), self._buffer[n:]
        return data

    def _fill(self) -> None:
        index = min(self._position // CHUNK_BYTES, chunk_count(self.size) - 1)
        begin = index * CHUNK_BYTES
        wanted = memoryview(self._chunk(index))[self._position - begin : self._stop - begin]
        self._position += len(wanted)
        self._buffer = wanted

    def _chunk(self, index: int) -> bytes:
        try:
            return self._good(index)
        except Corrupt:
            proof = self._learn()
            if proof is None:
                raise
        self._proof, self._learn = proof, lambda: None
        for copy in self._copies:
            copy.error = None
        return self._good(index)

    def _good(self, index: int) -> bytes:
        """Return a good chunk, from the first copy that has one."""
        for copy, answer in self._race(index):
            if isinstance(answer, bytes) and self._proof.holds(index, answer):
                self._copies.sort(key=lambda other: other is not copy)
                return answer
            if isinstance(answer, bytes):
                answer = Corrupt(f"chunk {index} of {copy.key} is damaged")
            copy.error = answer
            if isinstance(answer, Corrupt | NotFound):
                self._bad(copy.member)
        raise self._failure()

    def _race(self, index: int) -> Iterator[tuple[Copy, bytes | StorageError]]:
        """Ask one copy after another, the next one when one fails or takes too long."""
        ready: SimpleQueue[tuple[Copy, Future[bytes]]] = SimpleQueue()
        waiting = [copy for copy in self._copies if copy.free]
        running = 0
        deadline = time.monotonic() + LAST_SECONDS
        while waiting or running:
            if waiting:
                copy = waiting.pop(0)
                copy.chunk(index).add_done_callback(lambda f, c=copy: ready.put((c, f)))  # type: ignore[misc]
                running += 1
            patience = self._patience if waiting else max(0.0, deadline - time.monotonic())
            try:
                copy, future = ready.get(timeout=patience)
            except Empty:
                if not waiting:
                    return
                continue
            running -= 1
            answer: bytes | StorageError = answer_of(future)
            yield copy, answer

    def _failure(self) -> StorageError:
        errors = {c.member.name: c.error or Unavailable("is slow") for c in self._copies}
        text = words({name: str(error) for name, error in errors.items()})
        if all(isinstance(error, NotFound) for error in errors.values()):
            return NotFound(text)
        damaged = all(isinstance(error, Corrupt | NotFound) for error in errors.values())
        return Corrupt(text) if damaged else Unavailable(text)
