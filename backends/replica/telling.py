"""All members told to write at once; W of them acknowledge."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from backends.base import Backend
from backends.errors import Full, StorageError, Unavailable
from backends.replica.asking import answers, words
from backends.replica.member import WRITE_SECONDS, Member
from backends.replica.roster import Roster

GRACE_SECONDS = 0.05


class Told:
    """What members did that were told to write.

    done    those that count and have done it
    errors  what hindered others
    """

    def __init__(
        self, roster: Roster, call: Callable[[Backend], None], seconds: float = WRITE_SECONDS
    ) -> None:
        """Tell all; wait so long until enough have done it. Raises: Unavailable."""
        enough = roster.acknowledging()
        self.done: list[Member] = []
        self.errors: dict[Member, StorageError] = {}
        self._roster = roster
        self._waiting = {member: member.tell(call, seconds) for member in roster.written}
        for member, answer in answers(list(self._waiting.items()), seconds):
            self._take(member, answer)
            if len(self.done) >= enough:
                break

    def wait(self, seconds: float = GRACE_SECONDS) -> None:
        """Wait for the others, too, so long."""
        for member, answer in answers(list(self._waiting.items()), seconds):
            self._take(member, answer)

    def require(self) -> None:
        """Refuse to acknowledge what too few members have done. Raises: Full, Unavailable."""
        if len(self.done) >= self._roster.acknowledging():
            return
        problems = {member.name: str(error) for member, error in self.errors.items()}
        late = {member.name: "no answer in time" for member in self._waiting}
        if not self.done and any(isinstance(error, Full) for error in self.errors.values()):
            raise Full(words(problems))
        raise Unavailable(words({**late, **problems}))

    def report(self, missed: Callable[[Member], None]) -> None:
        """Tell of the members that have not done it, also of those that fail later."""
        for member in self.errors:
            missed(member)
        for member, future in self._waiting.items():
            future.add_done_callback(partial(_if_failed, member, missed))

    def _take(self, member: Member, answer: None | StorageError) -> None:
        del self._waiting[member]
        if isinstance(answer, StorageError):
            self.errors[member] = answer
        elif self._roster.counts(member):
            self.done.append(member)


def _if_failed(member: Member, missed: Callable[[Member], None], future: Future[None]) -> None:
    if future.exception() is not None:
        missed(member)
