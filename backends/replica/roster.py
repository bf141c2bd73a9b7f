"""Who the members of a set are: read from their own identity files, never from a configuration."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from backends.base import Backend
from backends.errors import StorageError, Unavailable
from backends.replica.asking import ask, words
from backends.replica.beats import Beats, beats_of, own_beat
from backends.replica.identities import markers
from backends.replica.marker import Marker
from backends.replica.member import Member, Opener, by_latency
from backends.replica.quorum import Quorum, quorum_of

log = logging.getLogger(__name__)

FRESH_SECONDS = 10.0
"""How old a view of the list may be."""
TWO = (
    "two replicas: while one is away tags cannot be read, nor anything be pushed, unless"
    " degraded_ack = 1 lets one acknowledge blobs. Three have none of this"
)
NOTHING = "no replica is there: is it mounted? (a new, empty one: `distserver replica join`)"
NO_MEMBER = "it is no member of the set any more: empty it, then `distserver replica join`"


class Roster:
    """The members of one set, as this process sees them.

    openers        URL -> what opens the storage there
    expected_id    id of the set; None = the first one met, and that one from then on
    degraded_ack   see quorum_of
    No locks, so that a fork at any moment is harmless.

    set_back       id of a member that forgot what it had -> the number it had reached (beats)
    """

    def __init__(
        self, openers: Mapping[str, Opener], expected_id: str | None, degraded_ack: bool
    ) -> None:
        self.all = [Member(url, open_, self._admit) for url, open_ in openers.items()]
        self.expected_id, self._degraded_ack = expected_id, degraded_ack
        self._seen: dict[int, Marker] = {}
        self._places: dict[str, Member] = {}
        self._problems = dict.fromkeys(openers, "it was not asked yet")
        self._known: dict[str, int] = {}
        self.set_back: dict[str, int] = {}
        self._asked, self._met = time.monotonic(), False

    @property
    def marker(self) -> Marker:
        """The list that is in force, as of a few seconds ago.

        Raises: Unavailable as long as no member was reached.
        """
        if not self._met:
            self._meet()
        elif time.monotonic() - self._asked > FRESH_SECONDS:
            self.refresh()
        return self._seen[max(self._seen)]

    @property
    def quorum(self) -> Quorum:
        """How many members are enough. Raises: Unavailable, as marker."""
        return quorum_of(len(self.marker.members), self._degraded_ack)

    def acknowledging(self) -> int:
        """Return how many members acknowledge a write: asked before one, and when it is done.

        Raises: Unavailable while the list is being changed.
        """
        if self.marker.frozen:
            raise Unavailable(
                "the list of replicas is being changed; if nobody is at it, repeat what was begun"
            )
        return self.quorum.write

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
        return member.id in self.marker.members and member.id not in self.set_back

    def problems(self) -> dict[str, str]:
        """Return name -> why it is not used, of those that are not, as of the last refresh."""
        return dict(self._problems)

    def learn(self, marker: Marker) -> None:
        """Take note of a list; that of the highest generation is in force."""
        self._seen.setdefault(marker.generation, marker)

    def refresh(self) -> None:
        """Ask all members for their list and their beats."""
        self._asked = time.monotonic()
        problems = {member.name: "no answer in time" for member in self.all}
        beats: dict[Member, Beats] = {}
        for member, answer in ask(self.all, _told, lambda: bool(self._seen)):
            if isinstance(answer, StorageError):
                problems[member.name] = str(answer)
                continue
            del problems[member.name]
            beats[member] = answer[1]
            for marker in answer[0]:
                if marker.set_id == self.expected_id:
                    self.learn(marker)
        now = self._seen[max(self._seen)] if self._seen else None
        for member in beats:
            if now and member.id not in (*now.members, *now.joining):
                problems[member.name] = NO_MEMBER
        self._problems = problems
        self._compare(beats)

    def _compare(self, beats: dict[Member, Beats]) -> None:
        """Find members that were set back: they show less than others have seen of them."""
        for member, shown in beats.items():
            id_ = member.id or ""
            # What was known once stays known: those who know it may be away by now.
            known = max(self._known.get(id_, 0), *(b.known.get(id_, 0) for b in beats.values()))
            self._known[id_] = known
            # Both were asked at once: what rose in between is asked for again.
            if shown.own >= known or self._has_reached(member, known):
                self.set_back.pop(id_, None)
            elif id_ not in self.set_back:
                log.error("%s was set back: it does not count until it is compared", member.name)
                self.set_back[id_] = known
        for member in beats:
            if member.id in self.set_back:
                self._problems[member.name] = "it was set back: it counts again once it is compared"

    def _has_reached(self, member: Member, number: int) -> bool:
        """Whether a member has; without an answer there is no ground to say that it has not."""
        answers = [answer for _, answer in ask([member], own_beat) if isinstance(answer, int)]
        return not answers or answers[0] >= number

    def _meet(self) -> None:
        self.refresh()
        if not self._seen:
            raise Unavailable(words(self._problems))
        self._met = True
        if len(self._seen[max(self._seen)].members) == 2:
            log.warning(TWO)

    def _admit(self, member: Member) -> str:
        """Return the id of a member. Raises: Unavailable in words that say why it is refused."""
        marker, own = marker_at(member)
        self._require_set(marker)
        self.learn(marker)
        now = self._seen[max(self._seen)]
        if marker.member not in (*now.members, *now.joining):
            raise Unavailable(NO_MEMBER)
        if member.id in now.members and marker.member not in (member.id, *now.joining):
            raise Unavailable("another member of the set is mounted here")
        if self._places.setdefault(marker.member, member) is not member:
            raise Unavailable("it is the same storage as another one of the list")
        if own < self._known.get(marker.member, 0):  # it was away, and came back as it once was
            self.set_back[marker.member] = self._known[marker.member]
        return marker.member

    def _require_set(self, marker: Marker) -> None:
        if marker.generation == 0:
            raise Unavailable("the set is not complete yet: `distserver init` goes on with it")
        if self.expected_id is None:
            self.expected_id = marker.set_id
        if marker.set_id != self.expected_id:
            raise Unavailable(f"it belongs to another set ({marker.set_id})")


def marker_at(member: Member) -> tuple[Marker, int]:
    """Return what a member says of itself, and its beat. Raises: Unavailable."""
    found = markers(member.raw())
    if not found:
        raise Unavailable(NOTHING)
    return max(found, key=lambda marker: marker.generation), own_beat(member.raw())


def _told(backend: Backend) -> tuple[list[Marker], Beats]:
    return markers(backend), beats_of(backend)
