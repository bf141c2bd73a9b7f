"""Changes of the list of members: one joins, takes another's place, or leaves.

Servers may run meanwhile. The new list is in force when a majority of the old members and of the
new ones have it, so that no server can work by an old list without meeting one who knows better.
While the number of members changes, nothing is written (Marker.frozen) for longer than any server
keeps its view of the list. A replaced or left member must never come back as it is: it is refused.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from backends.base import Backend
from backends.errors import Unavailable
from backends.identity import blank, mark
from backends.replica.asking import answers
from backends.replica.identities import enter, markers
from backends.replica.marker import Marker
from backends.replica.member import WRITE_SECONDS
from backends.replica.mending import done_by
from backends.replica.quorum import quorum_of
from backends.replica.repair import Looked, Repair, Round
from backends.replica.roster import FRESH_SECONDS, Roster

FREEZE_SECONDS = 3 * FRESH_SECONDS
_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Standing:
    """One member or place, for people.

    problem  "" = it is used
    """

    place: str
    id: str
    role: str
    problem: str


class Membership:
    """Changes the list of a set."""

    def __init__(self, roster: Roster, repair: Repair) -> None:
        self._roster, self._repair = roster, repair

    def status(self) -> list[Standing]:
        """Return how each place and each member of the list stands. Raises: Unavailable."""
        self._roster.refresh()
        marker = self._roster.marker
        problems = self._roster.problems()
        found = [
            Standing(m.name, m.id or "", _role(marker, m.id), problems.get(m.name, ""))
            for m in self._roster.all
        ]
        known = {standing.id for standing in found}
        missing = [id_ for id_ in (*marker.members, *marker.joining) if id_ not in known]
        return found + [Standing("", id_, _role(marker, id_), "not reached") for id_ in missing]

    def join(self, place: str, instead_of: str | None = None) -> Iterator[Looked]:
        """Fill the empty storage at a place of the list; then it counts. Yields what is copied.

            instead_of  id of a member that is lost and will never come back; its place is taken
        Can be repeated after it was broken off. Raises: Unavailable, Full.
        """
        now = self._reachable(instead_of)
        if instead_of and instead_of not in now.members:
            raise Unavailable(f"{instead_of} is no member: see `distserver replica status`")
        new = self._enlist(now, place)
        yield from self._fill(new)
        now = self._roster.marker
        members = (*(id_ for id_ in now.members if id_ != instead_of), new)
        self._switch(replace(now, members=members, joining=_without(now.joining, new)))
        yield from self._fill(new)  # what servers wrote by the old list until a moment ago

    def leave(self, id_: str) -> Iterator[Looked]:
        """Take a member out of the list, once the others have all of it. Yields what is copied.

        Raises: Unavailable, Full.
        """
        now = self._reachable(id_)
        if id_ not in (*now.members, *now.joining):
            raise Unavailable(f"{id_} is no member: see `distserver replica status`")
        if now.members == (id_,):
            raise Unavailable("the last replica cannot leave")
        yield from self._fill(None)
        members = _without(now.members, id_)
        self._switch(replace(now, members=members, joining=_without(now.joining, id_)))

    def _reachable(self, lost: str | None) -> Marker:
        """Return the list; all its members but the one that is lost must be there."""
        self._roster.refresh()
        now, problems = self._roster.marker, self._roster.problems()
        here = {m.id for m in self._roster.all if m.name not in problems}
        if missing := [id_ for id_ in now.members if id_ != lost and id_ not in here]:
            text = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
            raise Unavailable(f"all other replicas must be there, {missing[0]} is not: {text}")
        return now

    def _enlist(self, now: Marker, place: str) -> str:
        """Let the storage at a place get what is written, before it counts; return its id."""
        member = next((m for m in self._roster.all if m.name == place), None)
        if member is None:
            raise Unavailable(f"{place} is not in the configuration's list of storages")
        id_ = done_by(member.probe(partial(_id_for, now=now, place=place)), member)
        joining = (*_without(now.joining, id_), id_)
        later = replace(now, generation=now.generation + 1, joining=joining)
        done_by(member.probe(partial(enter, marker=later.of(id_))), member)
        self._publish(later)
        return id_

    def _fill(self, new: str | None) -> Iterator[Looked]:
        """Compare until all members have everything. Raises: Unavailable."""
        for _ in range(_ROUNDS):
            result = Round()
            yield from self._repair.look(result)
            left = [n for n in result.unread or {} if self._matters(n, new)]
            if not result.copied and not result.failed and not left:
                return
        raise Unavailable(f"there is always more to copy: {result.failed} failed, {left} not read")

    def _matters(self, name: str, new: str | None) -> bool:
        ids_ = (*self._roster.marker.members, new)
        return any(m.name == name and m.id in ids_ for m in self._roster.all)

    def _switch(self, later: Marker) -> None:
        """Let a list be in force; where the number of members changes, nobody writes meanwhile."""
        now = self._roster.marker
        if len(now.members) != len(later.members):
            self._publish(replace(now, generation=now.generation + 1, frozen=True))
            time.sleep(FREEZE_SECONDS)
        now = self._roster.marker
        self._publish(replace(later, generation=now.generation + 1, frozen=False))

    def _publish(self, later: Marker) -> None:
        """Write a list to all members, old and new. Raises: Unavailable if too few have it."""
        old = self._roster.marker
        ids_ = {*old.members, *later.members, *later.joining}
        asked = [
            (member, member.tell(partial(mark, store_id=id_, data=later.of(id_).data)))
            for member in self._roster.all
            if (id_ := member.id) in ids_ and id_ is not None
        ]
        done = [m.id for m, answer in answers(asked, WRITE_SECONDS) if isinstance(answer, str)]
        for list_ in (old.members, later.members):
            if len({*done} & {*list_}) < quorum_of(len(list_)).write:
                raise Unavailable("too few replicas took the new list: repeat the command")
        self._roster.learn(later)


def _id_for(backend: Backend, now: Marker, place: str) -> str:
    """Return the id that what lies at a place has in the set, or gets. Raises: Unavailable."""
    mine = [m for m in markers(backend) if m.set_id == now.set_id]
    if mine and mine[0].member in now.members:
        raise Unavailable(f"{place} is a replica already")
    if mine and mine[0].member in now.joining:
        return mine[0].member
    if mine or not blank(backend):
        raise Unavailable(f"{place} is not empty")
    return str(uuid.uuid4())


def _without(ids_: tuple[str, ...], id_: str) -> tuple[str, ...]:
    return tuple(each for each in ids_ if each != id_)


def _role(marker: Marker, id_: str | None) -> str:
    if id_ in marker.members:
        return "counts"
    return "joining" if id_ in marker.joining else "not used"
