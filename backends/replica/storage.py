"""A storage made of storages: survives the loss of W - 1 members, and answers with one of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from backends.base import Backend, Entry, Reader, Space, Standing, Sweeps, Writer
from backends.check import CheckResult, Examines
from backends.errors import Incomplete, NotFound, StorageError, Unavailable
from backends.helpers import erase, put, restore, space_of
from backends.keys import validate_key, validate_prefix
from backends.replica.asking import answers, ask
from backends.replica.content import PRIVATE
from backends.replica.forming import form
from backends.replica.hints import COPY, DELETE, ERASE, ERASE_SECONDS, Hints
from backends.replica.listing import Listing
from backends.replica.member import READ_SECONDS, WRITE_SECONDS, Member, Opener
from backends.replica.membership import Membership
from backends.replica.mending import Mending, copy
from backends.replica.opening import Opening
from backends.replica.quorum import common_space
from backends.replica.repair import Repair
from backends.replica.roster import Roster
from backends.replica.sight import look
from backends.replica.telling import Told
from backends.replica.tending import Tending
from backends.replica.writing import SYNC_BYTES_PER_SECOND, SetWriter

log = logging.getLogger(__name__)

EXAMINE_SECONDS = 60.0


class ReplicaSet:
    """A backend over members, each a storage of its own.

    A write is acknowledged when W members have it; what is absent, R = N - W + 1 members said so.
    An entry is there as soon as one member has it. Bytes of content are proved before they are
    returned, and read on from another member where one fails. Bound: an entry that is replaced by
    other bytes, or deleted, while a member is away may be seen in its old form as long as that
    member is back and its hints are not worked off.

    openers        URL -> what opens the storage there, given the id it must have
    expected_id    id of the set; None = the first one met
    degraded_ack   of two members, one is enough to acknowledge
    damaged        told of the URL of a member for each damaged copy
    """

    def __init__(
        self,
        openers: Mapping[str, Opener],
        *,
        expected_id: str | None = None,
        degraded_ack: bool = False,
        damaged: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.roster = Roster(openers, expected_id, degraded_ack)
        self.opening = Opening(self.roster, self._is_bad, self._has_learned)
        # What mends suspects nobody: two damaged copies would suspect each other for ever.
        quiet = Opening(self.roster, _nobody, self._has_learned)
        self.mending = Mending(quiet, damaged)
        self.hints = Hints(self.roster, self.opening, self.mending)
        self.repair = Repair(self.roster, self.mending)
        self.membership = Membership(self.roster, self.repair)
        self._tending = Tending(self.roster, self.mending, self.hints, self.repair)

    def stat(self, key: str) -> Entry:
        """See Backend.stat. The time is that of the youngest copy among those that answered."""
        sight = look(self.roster, validate_key(key))
        sight.require(key)
        return sight.entry

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        """See Backend.open."""
        return self.opening.open(validate_key(key), (start, stop))

    def create(self) -> Writer:
        """See Backend.create."""
        roster, missed = self.roster, partial(self.hints.note, COPY)
        return SetWriter(roster.written, roster.counts, roster.acknowledging, missed)

    def link(self, source: str, target: str) -> None:
        """See Backend.link. A member that lacks the source gets a copy from another."""
        self._link(source, target, lambda backend: backend.link(source, target), WRITE_SECONDS)

    def copy(self, source: str, target: str) -> None:
        """See Copies.copy: by each member as it can. One that lacks the source gets it as well."""
        validate_key(target)
        seconds = WRITE_SECONDS + self.stat(source).size / SYNC_BYTES_PER_SECOND
        self._link(source, target, lambda backend: restore(backend, source, target), seconds)

    def delete(self, key: str) -> None:
        """See Backend.delete. All members are waited for, not only W: nothing tells of it later."""
        validate_key(key)
        told = Told(self.roster, lambda backend: backend.delete(key))
        told.wait(READ_SECONDS)
        told.require()
        told.report(partial(self.hints.note, DELETE, key))

    def erase(self, key: str) -> None:
        """See Erases.erase: by all members that can be reached; the others are told by hints.

        Raises: Unavailable, also when too few were reached. Blocks on: a member that looks
        through all it has, ERASE_SECONDS at most.
        """
        validate_key(key)
        told = Told(self.roster, lambda backend: erase(backend, key), ERASE_SECONDS)
        told.wait(ERASE_SECONDS)
        told.require()
        told.report(partial(self.hints.note, ERASE, key))
        self.hints.wait()

    def keys(self, prefix: str, after: str = "", settle: bool = False) -> Iterator[str]:
        """See Backend.keys. Raises: also Incomplete, at the end, if fewer than R answered."""
        validate_prefix(prefix)
        return self._keys(prefix, after, settle)

    def space(self) -> Space | None:
        """See HasSpace.space: what W members have room for, those that do not know among them."""
        write, spaces = self.roster.quorum.write, list[Space | None]()
        for _, answer in ask(self.roster.counting, space_of, lambda: len(spaces) >= write):
            if not isinstance(answer, StorageError):
                spaces.append(answer)
        if len(spaces) < write:
            raise Unavailable("too few replicas tell how much room they have")
        return common_space(spaces, write)

    def sweep(self, max_age_seconds: float = 86400) -> int:
        """See Sweeps.sweep: of each member that can be reached."""
        removed = 0
        asked = [(m, m.tell(lambda b: _sweep(b, max_age_seconds))) for m in self.roster.written]
        for member, answer in answers(asked, WRITE_SECONDS):
            if isinstance(answer, StorageError):
                log.warning("%s is not swept: %s", member.name, answer)
            else:
                removed += answer
        return removed

    def examine(self) -> Iterator[CheckResult]:
        """See Examines.examine: of the members that are of such a kind and can be reached.

        One that fails is not used; the others go on.
        """
        asked = [(member, member.tell(_examine, EXAMINE_SECONDS)) for member in self.roster.all]
        for member, answer in answers(asked, EXAMINE_SECONDS):
            if isinstance(answer, StorageError):
                log.warning("%s is not examined: %s", member.name, answer)
                continue
            for result in answer:
                if result.answered:
                    yield replace(result, name=f"{member.name}: {result.name}")

    def form(self) -> str:
        """See Forms.form."""
        return form(self.roster.all, self.roster.expected_id)

    def settle(self, key: str) -> None:
        """See Settles.settle: on W members afterwards."""
        sight = look(self.roster, validate_key(key), thorough=True)
        sight.require(key)
        size = sight.entry.size
        holders = [m for m, entry in sight.found if entry.size == size and self.roster.counts(m)]
        if not self._settle(key, holders, self.roster.acknowledging() - len(holders)):
            raise NotFound(key)

    def watch(self) -> None:
        """See Watched.watch."""
        for member in self.roster.all:
            member.watch()

    def unwatch(self) -> None:
        """See Watched.unwatch."""
        for member in self.roster.all:
            member.unwatch()

    def standings(self) -> list[Standing]:
        """See Watched.standings: of each member, as of some seconds ago."""
        problems = self.roster.problems()
        return [member.standing(problems.get(member.name, "")) for member in self.roster.all]

    def tend(self) -> None:
        """See Tends.tend."""
        self._tending.tend()

    def compared(self) -> None:
        """Take note that a round of repair found, or made, all members equal."""
        self._tending.compared()

    def scrub(self, key: str) -> int:
        """See Proves.scrub."""
        return self._tending.scrub(key)

    def _link(
        self, source: str, target: str, call: Callable[[Backend], None], seconds: float
    ) -> None:
        validate_key(source)
        validate_key(target)
        told = Told(self.roster, call, seconds)
        told.wait()
        lacking = [
            member
            for member, error in told.errors.items()
            if isinstance(error, NotFound) and self.roster.counts(member)
        ]
        if not told.done and len(lacking) >= self.roster.quorum.read:
            raise NotFound(source)
        if told.done:
            self._copy_until_enough(target, told, lacking)
        told.require()
        told.report(partial(self.hints.note, COPY, target))

    def _copy_until_enough(self, key: str, told: Told, lacking: list[Member]) -> None:
        for member in lacking:
            if len(told.done) < self.roster.quorum.write:
                self.mending.copy(key, member)
                told.done.append(member)
                del told.errors[member]

    def _keys(self, prefix: str, after: str, settle: bool) -> Iterator[str]:
        quorum = self.roster.quorum
        listing = Listing(self.roster, prefix, after)
        for key, holders in listing:
            if key.startswith(PRIVATE) and key != PRIVATE + self.roster.marker.set_id:
                continue
            if settle:
                listing.require(Unavailable)
                if not self._settle(key, holders, quorum.write - len(holders)):
                    continue
            yield key
        listing.require(Incomplete)

    def _settle(self, key: str, holders: list[Member], missing: int) -> bool:
        """Bring a key to so many more members. Raises: Full, Unavailable.

        Returns: False if it is gone meanwhile.
        """
        if missing <= 0:
            return True
        others = [member for member in self.roster.counting if member not in holders]
        try:
            with self.opening.open(key, (0, None)) as reader:
                copy(reader, key, SetWriter(others, self.roster.counts, lambda: missing, _nobody))
        except NotFound:
            return False
        return True

    def _is_bad(self, key: str, member: Member) -> None:
        self._tending.suspect(key, member)

    def _has_learned(self, key: str, hashes: bytes) -> None:
        try:
            put(self, key, hashes)
        except StorageError as exc:
            log.warning("the chunk hashes %s are not kept: %s", key, exc)


def _nobody(key: str, member: Member) -> None:
    """Nobody is told of members beyond those that were needed: the next to look does it again."""


def _examine(backend: Backend) -> list[CheckResult]:
    return list(backend.examine()) if isinstance(backend, Examines) else []


def _sweep(backend: Backend, max_age_seconds: float) -> int:
    return backend.sweep(max_age_seconds) if isinstance(backend, Sweeps) else 0
