"""How a member that was set back is noticed: one that was restored from an old copy of itself.

    _store/beat-<number>                on the member: rises now and then
    hints/beats/<id of member>/<number> on the others: what the member is known to have reached

Such a member has forgotten what it acknowledged, so it must not count before everything was
compared. The number is noted on the others only when the member has it for good; so a member that
shows a lower one was set back. Numbers are names, and only lower ones are removed: no writer can
undo another's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from backends.base import Backend
from backends.helpers import put
from backends.replica.content import PRIVATE

_OWN = re.compile(rf"{PRIVATE}beat-([0-9]{{16}})")
PREFIX = "hints/beats/"
_KNOWN = re.compile(rf"{PREFIX}([0-9a-f-]{{36}})/([0-9]{{16}})")


@dataclass(frozen=True, slots=True)
class Beats:
    """What one member shows.

    own    its own number; 0 = none yet
    known  id of another member -> the number that this one has seen of it
    """

    own: int
    known: dict[str, int]


def own_beat(backend: Backend) -> int:
    """Return the number of a member; 0 = none yet. Raises: Unavailable."""
    matches = filter(None, map(_OWN.fullmatch, backend.keys(PRIVATE)))
    return max((int(match[1]) for match in matches), default=0)


def beats_of(backend: Backend) -> Beats:
    """Return what a member shows. Raises: Unavailable."""
    known: dict[str, int] = {}
    for match in filter(None, map(_KNOWN.fullmatch, backend.keys(PREFIX))):
        known[match[1]] = max(known.get(match[1], 0), int(match[2]))
    return Beats(own_beat(backend), known)


def raise_own(backend: Backend, number: int) -> None:
    """Let a member reach a number. Raises: Full, Unavailable."""
    _raise(backend, f"{PRIVATE}beat-", number)


def note(backend: Backend, member: str, number: int) -> None:
    """Note on another member what one has reached. Raises: Full, Unavailable."""
    _raise(backend, f"{PREFIX}{member}/", number)


def _raise(backend: Backend, stem: str, number: int) -> None:
    put(backend, f"{stem}{number:016}", b"")
    for key in list(backend.keys(stem[: stem.rindex("/") + 1])):
        # The one before stays: a listing that runs meanwhile may see neither a new nor a gone one.
        if key.startswith(stem) and key < f"{stem}{number - 1:016}":
            backend.delete(key)
