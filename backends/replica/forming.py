"""Gives a set and its members their identities, once."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from backends.base import Backend
from backends.errors import StorageError, Unavailable
from backends.identity import blank
from backends.replica.asking import answers, words
from backends.replica.identities import enter, ids, markers
from backends.replica.marker import Marker
from backends.replica.member import WRITE_SECONDS, Member, T


@dataclass(frozen=True, slots=True)
class Found:
    """What lies at a place."""

    member: Member
    markers: list[Marker]
    ids: set[str]
    blank: bool


def form(members: Sequence[Member], expected_id: str | None) -> str:
    """Return the id of the set; make one of entirely empty storages if there is none yet.

    A start that was broken off is gone on with. One storage may have content already: it is the
    first member then, and the others join it (membership).
    Raises: Unavailable in words for the operator; Full.
    """
    found, problems = _find(members)
    known = [marker for place in found for marker in place.markers]
    now = max(known, key=lambda marker: marker.generation, default=None)
    if now and now.generation > 0:
        return _finish(found, now)
    if problems:
        raise Unavailable(words(problems))
    if now:
        return _assign(found, now)
    return _begin(found, expected_id)


def _find(members: Sequence[Member]) -> tuple[list[Found], dict[str, str]]:
    """Return what lies at each place, and why some could not be looked at."""
    seen, problems = _gather([(member, member.probe(_look)) for member in members])
    found = [Found(member, *answer) for member, answer in seen.items()]
    return sorted(found, key=lambda place: members.index(place.member)), problems


def _look(backend: Backend) -> tuple[list[Marker], set[str], bool]:
    return markers(backend), ids(backend), blank(backend)


def _begin(found: list[Found], expected_id: str | None) -> str:
    filled = [place for place in found if not place.blank]
    if len(filled) > 1:
        names = ", ".join(place.member.name for place in filled)
        raise Unavailable(f"several of them have content: {names}")
    old = filled[0].ids if filled else set()
    if filled and not old:
        raise Unavailable(f"{filled[0].member.name} is not empty, but has no identity")
    if expected_id and expected_id not in old:
        raise Unavailable(f"storage {expected_id} is known here, but not there: is it mounted?")
    set_id = expected_id or min(old, default=str(uuid.uuid4()))
    chosen = [place.member for place in filled or found]
    names_ = [str(uuid.uuid4()) for _ in chosen]
    return _complete(chosen, Marker("", set_id, 0, tuple(names_)), names_)


def _assign(found: list[Found], first: Marker) -> str:
    """Go on with a set whose members do not all have their identity yet."""
    taken = [place.markers[0].member for place in found if place.markers]
    free = [member for member in first.members if member not in taken]
    chosen, names = [], []
    for place in found:
        if place.markers or (place.blank and free):
            chosen.append(place.member)
            names.append(place.markers[0].member if place.markers else free.pop(0))
    if free:
        raise Unavailable("the set was begun with more replicas: give all of them, empty ones too")
    return _complete(chosen, first, names)


def _complete(members: Sequence[Member], first: Marker, names: Sequence[str]) -> str:
    """Give each its identity; once all have it, they may be used."""
    pairs = list(zip(members, names, strict=True))
    _mark(pairs, first)
    _mark(pairs, Marker("", first.set_id, 1, first.members))
    return first.set_id


def _finish(found: list[Found], now: Marker) -> str:
    """A start that was broken off at its last step left some that may not be used yet."""
    late = [
        (place.member, marker.member)
        for place in found
        for marker in place.markers
        if marker.generation == 0 and marker.member in now.members
    ]
    _mark(late, now)
    return now.set_id


def _mark(pairs: Iterable[tuple[Member, str]], marker: Marker) -> None:
    """Write a marker to all; none is at it any more when this fails. Raises: Unavailable."""
    asked = [(m, m.probe(partial(enter, marker=marker.of(name)))) for m, name in pairs]
    if problems := _gather(asked)[1]:
        raise Unavailable(words(problems))


def _gather(asked: list[tuple[Member, Future[T]]]) -> tuple[dict[Member, T], dict[str, str]]:
    """Return what members answer in time, and why the others do not, by their names."""
    problems = {member.name: "no answer in time" for member, _ in asked}
    found: dict[Member, T] = {}
    for member, answer in answers(asked, WRITE_SECONDS):
        if isinstance(answer, StorageError):
            problems[member.name] = str(answer)
        else:
            del problems[member.name]
            found[member] = answer
    return found, problems
