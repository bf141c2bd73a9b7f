"""How an entry of a set is opened: which copies are read, and what proves their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from backends.base import Reader
from backends.errors import Corrupt, NotFound, RangeInvalid, StorageError
from backends.replica.asking import answer_within
from backends.replica.content import (
    CHUNK_BYTES,
    Chunks,
    Content,
    Proof,
    Unproved,
    Whole,
    chunk_count,
    content_of,
)
from backends.replica.member import Member, by_latency
from backends.replica.reading import LAST_SECONDS, Copy, SetReader
from backends.replica.roster import Roster
from backends.replica.sight import Sight, look

Span = tuple[int, int | None]
Bad = Callable[[str, Member], None]
"""Told of a key, and of a member whose copy of it should be looked at."""
MAX_HASH_BYTES = 64 << 20


class Opening:
    """Opens entries of the members of a roster.

    bad      see Bad
    learned  told of chunk hashes that had to be made anew: their key, and what they are
    """

    def __init__(self, roster: Roster, bad: Bad, learned: Callable[[str, bytes], None]) -> None:
        self._roster, self._bad, self._learned = roster, bad, learned

    def open(self, key: str, span: Span, without: Member | None = None) -> Reader:
        """Open a range. Raises: NotFound, RangeInvalid, Unavailable, Corrupt.

        without  a member whose copy is not to be read
        """
        sight = look(self._roster, key, without)
        sight.require(key)
        content = content_of(key)
        if content is None:
            return self._plain(key, sight, span)
        return self._proved(content, sight, span, without)

    def _plain(self, key: str, sight: Sight, span: Span) -> Reader:
        """Open the youngest copy, since an entry may have been replaced while a member was away."""
        found = sorted(sight.found, key=lambda pair: -pair[1].modified)
        size = found[0][1].size
        copies = [Copy(member, key, size) for member, entry in found if entry.size == size]
        return SetReader(copies, Unproved(), _nothing, _clip(key, span, size), _ignore)

    def _proved(self, content: Content, sight: Sight, span: Span, without: Member | None) -> Reader:
        error: StorageError = NotFound(content.key)
        for member in sight.absent:
            self._bad(content.key, member)
        for size in sight.sizes:
            try:
                return self._of_size(content, size, sight, span, without)
            except (Corrupt, NotFound) as exc:
                error = exc
        raise error

    def _of_size(
        self, content: Content, size: int, sight: Sight, span: Span, without: Member | None
    ) -> Reader:
        members = self._holders(size, sight, without)
        clipped = _clip(content.key, span, size)

        def learn() -> Proof | None:
            return self._learn(content, size, members) if size > CHUNK_BYTES else None

        proof = self._proof(content, size) or learn()
        if proof is None:
            raise Corrupt(f"no copy of {content.key} is what its digest says")
        return SetReader(
            [Copy(member, content.key, size) for member in members],
            proof,
            learn,
            clipped,
            lambda member: self._bad(content.key, member),
        )

    def _holders(self, size: int, sight: Sight, without: Member | None) -> list[Member]:
        """Members that have a copy of that size, fastest first, then those not heard of."""
        found = [member for member, entry in sight.found if entry.size == size]
        known = [member for member, _ in sight.found] + sight.absent + [without]
        return by_latency(found) + [m for m in self._roster.counting if m not in known]

    def _proof(self, content: Content, size: int) -> Proof | None:
        """Return what proves content of that size without reading all of it, if there is that."""
        if size <= CHUNK_BYTES:
            return Whole(content)
        try:
            with self.open(content.chunks, (0, None)) as reader:
                fits = reader.size == 32 * chunk_count(size) and reader.size <= MAX_HASH_BYTES
                return Chunks(reader.read()) if fits else None
        except (NotFound, Corrupt):
            return None

    def _learn(self, content: Content, size: int, members: list[Member]) -> Proof | None:
        """Read whole copies until one is what its digest says; its chunks are the proof then."""
        for member in members:
            hashes = hash_copy(Copy(member, content.key, size), content)
            if isinstance(hashes, bytes):
                self._learned(content.chunks, hashes)
                return Chunks(hashes)
        return None


def hash_copy(copy: Copy, content: Content) -> bytes | StorageError:
    """Read a whole copy; return the hashes of its chunks if its digest is right, else why not."""
    whole, hashes = hashlib.new(content.algorithm), []
    try:
        for data in _chunks(copy):
            whole.update(data)
            hashes.append(hashlib.sha256(data).digest())
    except StorageError as exc:
        return exc
    finally:
        copy.close()
    if whole.hexdigest() != content.digest:
        return Corrupt(f"{copy.key} is damaged")
    return b"".join(hashes)


def _chunks(copy: Copy) -> Iterator[bytes]:
    for index in range(chunk_count(copy.size)):
        answer = answer_within(copy.chunk(index), LAST_SECONDS, "no answer in time")
        if isinstance(answer, StorageError):
            raise answer
        yield answer


def _clip(key: str, span: Span, size: int) -> tuple[int, int]:
    start, stop = span
    stop = size if stop is None else stop
    if not 0 <= start <= stop <= size:
        raise RangeInvalid(f"{key}: {start}..{stop} of {size}")
    return start, stop


def _nothing() -> None:
    return None


def _ignore(member: Member) -> None:
    return None
