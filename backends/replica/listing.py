"""The keys of all members, merged in order as they are read."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import islice

from backends.base import Backend
from backends.errors import StorageError, Unavailable
from backends.replica.asking import answer_within, answers, words
from backends.replica.member import Member
from backends.replica.roster import Roster

PAGE_KEYS = 500
PAGE_SECONDS = 5.0
_GRACE_SECONDS = 0.05


class Stream:
    """The keys of one member, a page at a time.

    error  why there are no more of them; None = as far as we know there may be
    """

    def __init__(self, member: Member, prefix: str, after: str) -> None:
        self.member = member
        self.error: StorageError | None = None
        self._prefix, self._after = prefix, after
        self._keys: Iterator[str] | None = None
        self._page: deque[str] = deque()
        self._ended = False
        self._next: Future[list[str]] | None = member.ask(self._read, PAGE_SECONDS)

    @property
    def fetching(self) -> Future[list[str]] | None:
        """The page on its way; None at the end."""
        return self._next

    def head(self) -> str | None:
        """Return the first key that was not passed yet; None at the end, or after an error."""
        if not self._page and self._next is not None:
            self._take(self._next)
        return self._page[0] if self._page else None

    def pass_(self) -> None:
        """Go on to the next key; the next page is asked for in good time."""
        self._page.popleft()
        if not self._page and self._next is None and not self._ended:
            self._next = self.member.ask(self._read, PAGE_SECONDS)

    def _take(self, future: Future[list[str]]) -> None:
        self._next = None
        answer = answer_within(future, PAGE_SECONDS, f"{self.member.name} does not answer")
        if isinstance(answer, StorageError):
            self.error = answer
        else:
            self._ended = len(answer) < PAGE_KEYS
            self._page.extend(answer)

    def _read(self, backend: Backend) -> list[str]:
        if self._keys is None:
            self._keys = backend.keys(self._prefix, self._after)
        return list(islice(self._keys, PAGE_KEYS))


def open_streams(
    members: list[Member], prefix: str, after: str, enough: int
) -> tuple[list[Stream], dict[str, str]]:
    """Return the streams of those that answer, and what hinders the others.

    enough  streams after which the others are waited for only as long again
    """
    began = time.monotonic()
    streams = {member: Stream(member, prefix, after) for member in members}
    problems = {member.name: "no answer in time" for member in members}
    here: list[Stream] = []
    asked = [(m, s.fetching) for m, s in streams.items() if s.fetching]
    for member, answer in _patient(asked, began, here, enough):
        if isinstance(answer, StorageError):
            problems[member.name] = str(answer)
        else:
            del problems[member.name]
            here.append(streams[member])
    return here, problems


def _patient(
    asked: list[tuple[Member, Future[list[str]]]], began: float, here: list[Stream], enough: int
) -> Iterator[tuple[Member, list[str] | StorageError]]:
    """Yield answers until all have come, or enough and some time has passed."""
    waiting = dict(asked)
    for member, answer in answers(asked, PAGE_SECONDS):
        del waiting[member]
        yield member, answer
        if len(here) >= enough:
            break
    grace = max(_GRACE_SECONDS, time.monotonic() - began)
    yield from answers(list(waiting.items()), grace)


def union(streams: list[Stream]) -> Iterator[tuple[str, list[Member]]]:
    """Yield each key with the members that have it, ascending."""
    while True:
        heads = [(key, stream) for stream in streams if (key := stream.head()) is not None]
        if not heads:
            return
        first = min(key for key, _ in heads)
        having = [stream for key, stream in heads if key == first]
        yield first, [stream.member for stream in having]
        for stream in having:
            stream.pass_()


class Listing:
    """Each key below a prefix with the members that count and have it; enough of them answered.

    Iterate over it once. Raises: Unavailable (no member was ever reached).
    """

    def __init__(self, roster: Roster, prefix: str, after: str) -> None:
        self._enough = roster.quorum.read
        streams, self._problems = open_streams(roster.counting, prefix, after, self._enough)
        self._streams = [stream for stream in streams if roster.counts(stream.member)]

    def __iter__(self) -> Iterator[tuple[str, list[Member]]]:
        return union(self._streams)

    def require(self, error: type[Unavailable]) -> None:
        """Refuse when by now fewer members have answered than can speak for all. Raises: error."""
        failed = {s.member.name: str(s.error) for s in self._streams if s.error}
        if len(self._streams) - len(failed) < self._enough:
            raise error(words({**self._problems, **failed}))
