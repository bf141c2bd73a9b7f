"""An entry on its way to all members, at the pace of the slowest one that is needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Self

from backends.errors import Full, StorageError, Unavailable
from backends.keys import validate_key
from backends.replica.asking import words
from backends.replica.member import READ_SECONDS, WRITE_SECONDS, Member
from backends.replica.track import Track

PACE_BYTES = 4 << 20
SYNC_BYTES_PER_SECOND = 16 << 20
"""A commit may wait for what the kernel has not written yet, at this pace."""
_GRACE_SECONDS = 0.05

Missed = Callable[[str, Member], None]
"""Told of a key, and of a member that did not get it."""


class SetWriter:
    """A Writer whose bytes go to several members at once.

    members  all that are to have the entry
    counts   whether the answer of one counts
    enough   tells how many answers acknowledge: asked at the beginning, and when all is done
    missed   told of the members that have not got an acknowledged entry
    """

    def __init__(
        self,
        members: Sequence[Member],
        counts: Callable[[Member], bool],
        enough: Callable[[], int],
        missed: Missed,
    ) -> None:
        self._counts, self._acknowledging, self._missed = counts, enough, missed
        self._enough = enough()
        self._changed = threading.Condition()
        self._size, began = 0, time.monotonic()
        with self._changed:
            self._open = True
            self._tracks = [Track(member, self._changed) for member in members]
        self._await(_is_begun, WRITE_SECONDS)
        self._await_rest(_is_begun, began)

    def write(self, data: bytes | memoryview) -> None:
        """See Writer.write."""
        self._require_open()
        piece = bytes(data)
        self._size += len(piece)
        with self._changed:
            for track in self._tracks:
                track.add(piece)
        self._await(lambda track: track.pending <= PACE_BYTES, WRITE_SECONDS)

    def commit(self, key: str) -> None:
        """See Writer.commit."""
        self._require_open()
        began = time.monotonic()
        try:
            validate_key(key)
            with self._changed:
                for track in self._tracks:
                    track.commit(key)
            self._await(_is_committed, WRITE_SECONDS + self._size / SYNC_BYTES_PER_SECOND)
            self._enough = self._acknowledging()
            self._await(_is_committed, WRITE_SECONDS)
        except StorageError:
            self.abort()
            raise
        self._await_rest(_is_committed, began)
        self._open = False
        with self._changed:
            for track in self._tracks:
                track.leave(partial(self._missed, key, track.member))

    def abort(self) -> None:
        """See Writer.abort."""
        if not self._open:
            return
        self._open = False
        with self._changed:
            for track in self._tracks:
                track.abort()
            # So that nothing is left lying about, where that can be had at once.
            self._changed.wait_for(lambda: not any(t.busy for t in self._tracks), READ_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()

    def _require_open(self) -> None:
        if not self._open:
            raise Unavailable("this writer is finished")

    def _await(self, done: Callable[[Track], bool], seconds: float) -> None:
        """Wait until enough members are done.

        Raises: Full, Unavailable; then the entry is given up.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_settled(done), seconds)
            if self._count(done) >= self._enough:
                return
            error = self._error(seconds)
        self.abort()
        raise error

    def _await_rest(self, done: Callable[[Track], bool], began: float) -> None:
        """Give the others as long again: they are seldom far behind."""
        grace = max(_GRACE_SECONDS, time.monotonic() - began)
        with self._changed:
            self._changed.wait_for(lambda: self._are_through(done), min(grace, WRITE_SECONDS))

    def _is_settled(self, done: Callable[[Track], bool]) -> bool:
        """Whether enough members are done, or it is certain that never so many will be."""
        able = sum(t.state != "failed" and self._may_count(t) for t in self._tracks)
        return self._count(done) >= self._enough or able < self._enough

    def _may_count(self, track: Track) -> bool:
        return track.member.id is None or self._counts(track.member)

    def _count(self, done: Callable[[Track], bool]) -> int:
        return sum(t.state != "failed" and done(t) and self._counts(t.member) for t in self._tracks)

    def _are_through(self, done: Callable[[Track], bool]) -> bool:
        return all(t.state == "failed" or done(t) for t in self._tracks)

    def _error(self, seconds: float) -> StorageError:
        """Full only if that is what hinders, and nothing became visible."""
        errors = {t.member.name: t.error for t in self._tracks if t.error}
        full = sum(isinstance(error, Full) for error in errors.values())
        seen = any(t.state == "committed" for t in self._tracks)
        if full and len(self._tracks) - full < self._enough and not seen:
            return Full(words({name: str(error) for name, error in errors.items()}))
        late = {t.member.name: f"no answer in {seconds:.0f} s" for t in self._tracks if t.busy}
        return Unavailable(words({**late, **{name: str(error) for name, error in errors.items()}}))


def _is_begun(track: Track) -> bool:
    return track.begun


def _is_committed(track: Track) -> bool:
    return track.state == "committed"
