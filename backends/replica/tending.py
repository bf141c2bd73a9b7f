"""What a set does in the background: mends copies, works off hints, looks through everything."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from functools import partial

from backends.base import Backend
from backends.errors import Corrupt, Full, NotFound, StorageError, Unavailable
from backends.replica import beats
from backends.replica.hints import ALL, PREFIX, Hints
from backends.replica.lane import Lane
from backends.replica.member import Member
from backends.replica.mending import Mending, done_by
from backends.replica.repair import Looked, Repair, Round
from backends.replica.roster import Roster

log = logging.getLogger(__name__)
SLICE_SECONDS = 1.0
"""Work at a stretch: with a pause of a few seconds after it, a fifth of a thread at most."""
ROUND_SECONDS = 86400.0
BEAT_SECONDS = 60.0
MAX_SUSPECTS = 100
_MEND_SECONDS = 600.0


class Tending:
    """The background work of one process; others may do the same work, to no harm."""

    def __init__(self, roster: Roster, mending: Mending, hints: Hints, repair: Repair) -> None:
        self._roster, self._mending, self._hints = roster, mending, hints
        self._repair = repair
        self._lane = Lane("mending", threads=1)
        self._suspects: dict[tuple[str, Member], None] = {}
        self._steps: Iterator[Looked] = iter(())
        self._next_beat = time.monotonic()
        self._next_round: float | None = None

    def suspect(self, key: str, member: Member) -> None:
        """Look at a copy of content soon, and mend it. Never waits."""
        if (key, member) not in self._suspects and len(self._suspects) < MAX_SUSPECTS:
            self._suspects[key, member] = None
            self._lane.submit(partial(self._mend, key, member), _MEND_SECONDS)

    def scrub(self, key: str) -> int:
        """Look at the copies of all members that can be reached; see Proves.scrub."""
        return sum(self._mend(key, member) for member in self._roster.counting)

    def tend(self) -> None:
        """Do what there is to do, for about a second."""
        until = time.monotonic() + SLICE_SECONDS
        if self._next_round is None:  # now, after the fork: processes should not do it together
            self._next_round = time.monotonic() + random.uniform(0, ROUND_SECONDS)  # noqa: S311
        self._roster.refresh()
        away = self._roster.problems()
        for member in self._roster.written:
            if member.name not in away:
                self._catch_up(member, until)
        if time.monotonic() >= self._next_beat:
            self._beat()
        if self._roster.set_back:
            self._next_round = 0.0
        while time.monotonic() < until:
            if next(self._steps, None) is None:
                if time.monotonic() < self._next_round:
                    break
                self._begin_round()

    def _catch_up(self, member: Member, until: float) -> None:
        try:
            if self._hints.drain(member, until):
                self._next_round = 0.0
        except (Unavailable, Full) as exc:
            log.debug("%s does not catch up yet: %s", member.name, exc)

    def _begin_round(self) -> None:
        self._next_round = time.monotonic() + ROUND_SECONDS
        self._steps = self._look()

    def _look(self) -> Iterator[Looked]:
        result = Round()
        yield from self._repair.look(result)
        log.info("replicas compared: %d keys, %d copies written", result.keys, result.copied)
        if result.whole:
            self.compared()

    def compared(self) -> None:
        """All members have everything now: also those that count only from now on."""
        for member in self._roster.written:
            self._hints.drop(f"{PREFIX}{member.id}/{ALL}")
        for id_ in list(self._roster.set_back):
            self._raise(id_, self._roster.set_back[id_])
        self._roster.refresh()

    def _beat(self) -> None:
        """Let each member reach a new number, and the others know of it (see beats)."""
        self._next_beat = time.monotonic() + BEAT_SECONDS
        for member in self._roster.counting:
            if member.id and self._roster.counts(member):
                self._raise(member.id, 0)

    def _raise(self, id_: str, at_least: int) -> None:
        """Raise the number of a member; a member that is away is left as it is."""
        (member,) = [m for m in self._roster.all if m.id == id_]
        try:
            number = done_by(member.tell(lambda backend: _rise(backend, at_least)), member)
            for other in self._roster.counting:
                if other is not member and self._roster.counts(other):
                    done_by(other.tell(lambda backend: beats.note(backend, id_, number)), other)
        except StorageError as exc:
            log.debug("%s keeps its number: %s", member.name, exc)

    def _mend(self, key: str, member: Member) -> bool:
        try:
            return self._mending.mend(key, member)
        except (NotFound, Corrupt) as exc:
            log.error("no replica has a good copy of %s: %s", key, exc)
        except StorageError as exc:
            log.warning("%s: %s is not mended now: %s", member.name, key, exc)
        finally:
            self._suspects.pop((key, member), None)
        return False


def _rise(backend: Backend, at_least: int) -> int:
    number = max(at_least, beats.own_beat(backend)) + 1
    beats.raise_own(backend, number)
    return number
