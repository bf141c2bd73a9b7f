"""Looks through all members for what one of them lacks, and copies it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from backends.errors import NotFound, StorageError
from backends.replica.content import is_kept_equal
from backends.replica.listing import Stream, open_streams, union
from backends.replica.member import Member
from backends.replica.mending import Mending
from backends.replica.roster import Roster

PLACES = ("blobs/", "catalog/", "chunks/", "deny/", "repositories/")


@dataclass(frozen=True, slots=True)
class Looked:
    """A key that was looked at.

    copied    names of the members that lacked it and have it now
    problems  name of a member -> why it still lacks it
    """

    key: str
    copied: tuple[str, ...]
    problems: dict[str, str]


@dataclass(slots=True)
class Round:
    """What a round over everything found.

    unread  name of a member -> why not all of its keys were seen
    """

    keys: int = 0
    copied: int = 0
    failed: int = 0
    unread: dict[str, str] | None = None

    @property
    def whole(self) -> bool:
        """Whether all members have all keys now."""
        return not self.failed and not self.unread


class Repair:
    """Compares the keys of all members that can be reached.

    Keys that come and go by themselves (uploads, hints) are left alone.
    """

    def __init__(self, roster: Roster, mending: Mending) -> None:
        self._roster, self._mending = roster, mending

    def look(self, result: Round) -> Iterator[Looked]:
        """Yield key after key; result tells in the end how it went. Raises: Unavailable."""
        result.unread = {}
        for place in PLACES:
            members = self._roster.written
            streams, problems = open_streams(members, place, "", len(members))
            for key, holders in union(streams):
                if is_kept_equal(key):
                    looked = self._mend(key, holders, streams)
                    result.keys += 1
                    result.copied += len(looked.copied)
                    result.failed += len(looked.problems)
                    yield looked
            failed = {s.member.name: str(s.error) for s in streams if s.error}
            result.unread.update({**problems, **failed})

    def _mend(self, key: str, holders: list[Member], streams: list[Stream]) -> Looked:
        copied, problems = [], {}
        for stream in streams:
            member = stream.member
            if member in holders or stream.error:
                continue
            try:
                self._mending.copy_if_absent(key, member)
            except NotFound:
                break  # it was removed meanwhile
            except StorageError as exc:
                problems[member.name] = str(exc)
            else:
                copied.append(member.name)
        return Looked(key, tuple(copied), problems)
