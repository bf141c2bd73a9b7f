"""Who the members of a set are: read from their own identity files, never from a configuration."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from backends.base import Backend
from backends.errors import Corrupt, NotFound, StorageError, Unavailable
from backends.helpers import read_all
from backends.identity import MARKER_BYTES, known_ids, unguarded
from backends.replica.asking import ask, words
from backends.replica.content import PRIVATE
from backends.replica.marker import Marker, parse
from backends.replica.member import Member, Opener, by_latency
from backends.replica.quorum import Quorum, quorum_of


class Roster:
    """The members of one set, as this process sees them.

    openers        URL -> what opens the storage there
    expected_id    id of the set; None = the first one met, and that one from then on
    degraded_ack   see quorum_of
    No locks, so that a fork at any moment is harmless.
    """

    def __init__(
        self, openers: Mapping[str, Opener], expected_id: str | None, degraded_ack: bool
    ) -> None:
        self.all = [Member(url, open_, self._admit) for url, open_ in openers.items()]
        self.expected_id, self._degraded_ack = expected_id, degraded_ack
        self._seen: dict[int, Marker] = {}
        self._places: dict[str, Member] = {}
        self._asked = time.monotonic()

    @property
    def marker(self) -> Marker:
        """The list that is in force, as of a few seconds ago.

        Raises: Unavailable as long as no member was reached.
        """
        if not self._seen:
            self._meet()
        if time.monotonic() - self._asked > FRESH_SECONDS:
            self.refresh()
        return self._seen[max(self._seen)]

    @property
    def quorum(self) -> Quorum:
        """How many members are enough. Raises: Unavailable, as marker."""
        return quorum_of(len(self.marker.members), self._degraded_ack)

    def require_writable(self) -> None:
        """Refuse to write while the list is being changed. Raises: Unavailable."""
        if self.marker.frozen:
            raise Unavailable(
                "the list of replicas is being changed; if nobody is at it, repeat what was begun"
            )

    @property
    def counting(self) -> list[Member]:
        """Those that count, fastest first; one that was not reached yet may turn out to."""
        ids = self.marker.members
        return by_latency([m for m in self.all if m.id is None or m.id in ids])

    @property
    def written(self) -> list[Member]:
        """Those that get what is written: also the ones that are being filled."""
        ids = (*self.marker.members, *self.marker.joining)
        return [m for m in self.all if m.id is None or m.id in ids]

    def counts(self, member: Member) -> bool:
        """Whether the answer of a member counts."""
        return member.id in self.marker.members

    def refresh(self) -> None:
        """Ask all members for their list; one of a later generation is in force then."""
        self._asked = time.monotonic()
        for _, answer in ask(self.all, markers_of):
            for marker in answer if isinstance(answer, list) else []:
                if marker.set_id == self.expected_id:
                    self._seen.setdefault(marker.generation, marker)

    def _meet(self) -> None:
        problems = {}
        for member, answer in ask(self.all, lambda backend: None):
            if isinstance(answer, StorageError):
                problems[member.name] = str(answer)
        if not self._seen:
            raise Unavailable(words(problems))

    def _admit(self, member: Member) -> str:
        """Return the id of a member. Raises: Unavailable in words that say why it is refused."""
        marker = marker_at(member)
        self._require_set(marker)
        self._seen.setdefault(marker.generation, marker)
        now = self._seen[max(self._seen)]
        if marker.member not in (*now.members, *now.joining):
            raise Unavailable("it is no member of the set any more: `distserver replica join`")
        if member.id not in (None, marker.member):
            raise Unavailable("another member of the set is mounted here")
        if self._places.setdefault(marker.member, member) is not member:
            raise Unavailable("it is the same storage as another one of the list")
        return marker.member

    def _require_set(self, marker: Marker) -> None:
        if marker.generation == 0:
            raise Unavailable("the set is not complete yet: `distserver init` goes on with it")
        if self.expected_id is None:
            self.expected_id = marker.set_id
        if marker.set_id != self.expected_id:
            raise Unavailable(f"it belongs to another set ({marker.set_id})")


def marker_at(member: Member) -> Marker:
    """Return what a member says of itself. Raises: Unavailable."""
    found = markers(member.open(None))
    if not found:
        raise Unavailable("not initialised or not mounted, or no member: `distserver replica join`")
    return max(found, key=lambda marker: marker.generation)


FRESH_SECONDS = 10.0
"""How old a view of the list may be."""


def markers_of(backend: Backend) -> list[Marker]:
    """As markers, of a storage that is bound to its id."""
    return [marker for marker in (parse(*pair) for pair in _files(backend)) if marker]


def markers(backend: Backend) -> list[Marker]:
    """Return the identity files of a member of a set at a place; none for other storages.

    Raises: Unavailable.
    """
    return markers_of(unguarded(backend))


def ids(backend: Backend) -> set[str]:
    """Return all ids of a storage. Raises: Unavailable."""
    return set(known_ids(_files(unguarded(backend))))


def _files(raw: Backend) -> Iterator[tuple[str, bytes]]:
    for key in raw.keys(PRIVATE):
        try:
            yield key.removeprefix(PRIVATE), read_all(raw, key, MARKER_BYTES)
        except (NotFound, Corrupt):
            continue  # gone again, or no identity: counts for nothing
