"""Makes the copy of one member what it should be, from the copies of the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future

from backends.base import Entry, Reader, Writer
from backends.errors import Corrupt, NotFound, StorageError, Unavailable
from backends.helpers import read_all
from backends.quarantine import aside
from backends.replica.asking import PATIENT_SECONDS, answer_within
from backends.replica.content import CHUNK_BYTES, Content, content_of
from backends.replica.member import WRITE_SECONDS, Member, T
from backends.replica.opening import Opening, hash_copy
from backends.replica.reading import Copy
from backends.replica.writing import SetWriter

log = logging.getLogger(__name__)
_READ_BYTES = 1 << 20


class Mending:
    """Copies entries between members.

    damaged  told of the name of a member, for each copy of it that was found damaged
    """

    def __init__(self, opening: Opening, damaged: Callable[[str], None]) -> None:
        self._opening, self._damaged = opening, damaged

    def copy(self, key: str, member: Member) -> None:
        """Write an entry to a member, as the others have it.

        Raises: NotFound (they have it no more), Unavailable, Full, Corrupt (no good copy).
        """
        self._copy(key, member, lambda: None)

    def copy_if_absent(self, key: str, member: Member) -> None:
        """Write an entry to a member that lacks it. Raises: as copy."""
        if _entry(member, key) is None:
            self.copy(key, member)

    def mend(self, key: str, member: Member) -> bool:
        """Look at a member's copy of content; write a missing one, replace a damaged one.

        A damaged copy stays where it is as long as there is no good one to take its place.
        Returns: whether the copy was damaged. Raises: as copy.
        """
        content, entry = content_of(key), _entry(member, key)
        if entry is None:
            self.copy(key, member)
            return False
        return content is not None and self._mend_content(content, member, entry.size)

    def _mend_content(self, content: Content, member: Member, size: int) -> bool:
        """Look at a member's copy; return whether it was damaged. Raises: as copy."""
        hashes = hash_copy(Copy(member, content.key, size), content)
        if isinstance(hashes, Unavailable):
            raise hashes
        if isinstance(hashes, bytes):
            self._mend_chunks(content, member, hashes if size > CHUNK_BYTES else b"")
            return False
        log.error("%s: %s is damaged", member.name, content.key)
        self._damaged(member.name)
        self._copy(content.key, member, lambda: _quarantine(content, member))
        log.warning("%s: %s is mended from another replica", member.name, content.key)
        return True

    def _mend_chunks(self, content: Content, member: Member, hashes: bytes) -> None:
        """Replace chunk hashes of a member that are not those of a copy that was proved."""
        if not hashes or _small(member, content.chunks, len(hashes)) == hashes:
            return
        log.warning("%s: %s is written anew", member.name, content.chunks)
        with _writer(member) as writer:
            writer.write(hashes)
            writer.commit(content.chunks)

    def _copy(self, key: str, member: Member, before: Callable[[], None]) -> None:
        with self._opening.open(key, (0, None), without=member) as reader:
            copy(reader, key, _writer(member), before)


def copy(
    reader: Reader, key: str, writer: Writer, before: Callable[[], None] = lambda: None
) -> None:
    """Write all that a reader gives under a key.

    before  called when all bytes are there, before they get their name
    """
    with writer:
        while data := reader.read(_READ_BYTES):
            writer.write(data)
        before()
        writer.commit(key)


def done_by(future: Future[T], member: Member, seconds: float = WRITE_SECONDS) -> T:
    """Return what one member answers within the deadline. Raises: StorageError."""
    answer = answer_within(future, seconds, f"{member.name} does not answer")
    if isinstance(answer, StorageError):
        raise answer
    return answer


def _writer(member: Member) -> SetWriter:
    """Write to one member only."""
    return SetWriter([member], lambda _: True, lambda: 1, lambda *_: None)


def _small(member: Member, key: str, size: int) -> bytes | None:
    """What a member has under a key, if it is of that size. Raises: Unavailable."""
    try:
        return done_by(member.ask(lambda backend: read_all(backend, key, size)), member)
    except (NotFound, Corrupt):
        return None


def _entry(member: Member, key: str) -> Entry | None:
    """What a member has under a key. Raises: Unavailable."""
    try:
        return done_by(member.ask(lambda backend: backend.stat(key)), member, PATIENT_SECONDS)
    except NotFound:
        return None


def _quarantine(content: Content, member: Member) -> None:
    """Keep the damaged bytes, in case somebody can make use of them."""
    key = aside(content.algorithm, content.digest, time.time())
    done_by(member.tell(lambda backend: backend.link(content.key, key)), member)
