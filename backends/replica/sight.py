"""What the members say of one key."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from backends.base import Entry
from backends.errors import NotFound, StorageError, Unavailable
from backends.replica.asking import ask, words
from backends.replica.member import Member
from backends.replica.quorum import Quorum
from backends.replica.roster import Roster


@dataclass(slots=True)
class Sight:
    """The answers to one stat.

    found     members that have the key
    absent    members that said they have not
    problems  what hindered the others
    """

    quorum: Quorum
    found: list[tuple[Member, Entry]] = field(default_factory=list)
    absent: list[Member] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    _answered: int = 0

    @property
    def entry(self) -> Entry:
        """What the set says: the size that most have, the time of the youngest copy."""
        modified = max(entry.modified for _, entry in self.found)
        return Entry(self.sizes[0], modified)

    @property
    def sizes(self) -> list[int]:
        """The sizes that there are, the most frequent one first, then the larger one."""
        counts = Counter(entry.size for _, entry in self.found)
        return sorted(counts, key=lambda size: (-counts[size], -size))

    def require(self, key: str) -> None:
        """Refuse to say anything of a key that nobody showed.

        Raises: NotFound if so many members said so that no acknowledged write can be elsewhere;
        else Unavailable.
        """
        if self.found:
            return
        if len(self.absent) >= self.quorum.read:
            raise NotFound(key)
        raise Unavailable(words(self.problems))

    def add(self, member: Member, answer: Entry | StorageError, counts: bool) -> None:
        """Take one member's answer; what one has that does not count is there all the same."""
        if isinstance(answer, Entry):
            self.found.append((member, answer))
            self._answered += counts
        elif isinstance(answer, NotFound) and counts:
            self.absent.append(member)
            self._answered += 1
        elif not isinstance(answer, NotFound):
            self.problems[member.name] = str(answer)

    @property
    def enough(self) -> bool:
        """Whether the members that have answered can speak for all."""
        return self._answered >= self.quorum.read and len(self.sizes) < 2


def look(roster: Roster, key: str, without: Member | None = None, thorough: bool = False) -> Sight:
    """Ask the members that count for a key, except one, until enough have answered.

        thorough  until W have it, or all have answered
    Raises: Unavailable (no member was ever reached), InvalidKey.
    """
    sight = Sight(roster.quorum)
    asked = [member for member in roster.counting if member is not without]
    for member, answer in ask(asked, lambda backend: backend.stat(key), lambda: bool(sight.found)):
        sight.add(member, answer, roster.counts(member))
        if sight.enough and (not thorough or len(sight.found) >= sight.quorum.write):
            break
    return sight
