"""Gives a set and its members their identities, once."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from backends.base import Backend
from backends.errors import Unavailable
from backends.identity import blank, mark, unguarded
from backends.replica.marker import Marker
from backends.replica.member import Member
from backends.replica.roster import ids, markers


def form(members: Sequence[Member], expected_id: str | None) -> str:
    """Return the id of the set; make one of entirely empty storages if there is none yet.

    A start that was broken off is gone on with. One storage may have content already: it is the
    first member then, and the others join it (membership.join).
    Raises: Unavailable in words for the operator; Full.
    """
    raws = {member.name: unguarded(member.open(None)) for member in members}
    found = {name: markers(raw) for name, raw in raws.items()}
    known = [marker for some in found.values() for marker in some]
    if any(marker.generation > 0 for marker in known):
        return _finish(raws, found, max(known, key=lambda marker: marker.generation))
    if known:
        return _assign(raws, found, known[0])
    return _begin(raws, expected_id)


def _begin(raws: dict[str, Backend], expected_id: str | None) -> str:
    filled = {name: ids(raw) for name, raw in raws.items() if not blank(raw)}
    if len(filled) > 1:
        raise Unavailable(f"several of them have content: {', '.join(filled)}")
    old = next(iter(filled.values()), set())
    if filled and not old:
        raise Unavailable(f"{next(iter(filled))} is not empty, but has no identity")
    if expected_id and expected_id not in old:
        raise Unavailable(f"the storage {expected_id} is known here: is it not mounted?")
    set_id = expected_id or (min(old) if old else str(uuid.uuid4()))
    chosen = list(filled or raws)
    names = [str(uuid.uuid4()) for _ in chosen]
    first = Marker("", set_id, 0, tuple(names))
    for name, member in zip(chosen, names, strict=True):
        mark(raws[name], member, first.of(member).data)
    return _complete({name: raws[name] for name in chosen}, first, names)


def _assign(raws: dict[str, Backend], found: dict[str, list[Marker]], first: Marker) -> str:
    """Go on with a set whose members do not all have their identity yet."""
    taken = [marker.member for some in found.values() for marker in some]
    free = [member for member in first.members if member not in taken]
    chosen: dict[str, Backend] = {}
    names = []
    for name, raw in raws.items():
        if not found[name] and not free:
            continue
        member = found[name][0].member if found[name] else free.pop(0)
        if not found[name] and not blank(raw):
            raise Unavailable(f"{name} is not empty, and no member of the set")
        mark(raw, member, first.of(member).data)
        chosen[name] = raw
        names.append(member)
    if set(names) != set(first.members):
        raise Unavailable("the set was begun with more replicas: give all of them")
    return _complete(chosen, first, names)


def _complete(raws: dict[str, Backend], first: Marker, names: Sequence[str]) -> str:
    """All have their identity: from now on they may be used."""
    ready = Marker("", first.set_id, 1, first.members)
    for raw, member in zip(raws.values(), names, strict=True):
        mark(raw, first.set_id)
        mark(raw, member, ready.of(member).data)
    return first.set_id


def _finish(raws: dict[str, Backend], found: dict[str, list[Marker]], now: Marker) -> str:
    """A start that was broken off at its last step left some that may not be used yet."""
    for name, some in found.items():
        for marker in some:
            if marker.generation == 0 and marker.member in now.members:
                mark(raws[name], now.set_id)
                mark(raws[name], marker.member, now.of(marker.member).data)
    return now.set_id
