"""What the model's storage holds, and how content is looked for; see collecting.py.

Contents, runs of the collector and writers are small numbers, sets of them bit masks. What one
actor alone writes (its record, its trash) is a field of that actor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeVar

T = TypeVar("T")
END = "end"
LOOKS = 5
"""Place, trash, place, trash, place: only then is content absent."""


class Mistake(StrEnum):
    """What an implementation could do wrong; each must be found."""

    NO_LOOK_AGAIN = "no look again after the record"
    NO_LOOK_AT_OWN = "no look again at the manifest's own bytes"
    SHARED_RECORD = "two pushes count on one record, which the one that fails takes back"
    PULLED_COUNTS = "a push counts on the record of a pull"
    NO_SECOND_MARK = "no second mark"
    LATE_LIST = "trash listed after the second mark"
    ONE_TRASH_NAME = "all runs condemn under one name"
    ADOPTED_EARLY = "trash of a run that is not done with deleting is purged by another"
    SHARED_DATA = "a restored name and the trash share one copy of the data"
    OWN_PURGED = "what is referenced loses the trash entry of the same run"
    RESTORED_PURGED = "what was just restored loses its older trash entries"
    SHORT_LOOK = "absent after one look at the live names and the trash"
    NO_WAIT = "no wait before the second mark, though listings are late"
    SHORT_WAIT = "a wait once as long as listings and lookups are late"
    NO_CENSUS = "a listing that omits a known record is believed"
    BLOBS_FIRST = "blobs are evicted before the manifest"
    UNTAGGED_AT_ONCE = "an untagged manifest is removed though its push may be under way"
    UNSEEN_REMOVED = "a removal takes records along that it did not see"
    OLD_COUNTS = "a push counts on an old record, which may be about to be removed"


@dataclass(frozen=True, slots=True)
class Setup:
    """Who takes part.

    pushes      for each writer the contents of its manifest
    own         the last content of each manifest is its own bytes
    collectors  runs, all at the same time
    atomic      the storage moves in one step; else link, then delete
    late        listings may miss young records, and lookups find what is just gone; one run only,
                as it is not told apart when something is gone twice
    shares      pushes count on young records of others, and never take one back
    lies        a listing may omit the record of the first writer, which the census knows
    first       "acknowledged", "untagged" or "pulled": the first writer was done long ago
    removers    "untagged" and "evict"
    mistakes    what is done wrong
    """

    pushes: tuple[tuple[int, ...], ...] = ((0,),)
    own: bool = False
    collectors: int = 1
    readers: int = 0
    atomic: bool = True
    late: bool = False
    shares: bool = False
    lies: bool = False
    first: str = ""
    removers: tuple[str, ...] = ()
    mistakes: frozenset[Mistake] = frozenset()


class Look(NamedTuple):
    """A search for one content: how many looks are done, and the runs whose trash had it."""

    done: int = 0
    runs: int = 0


FIRST_LOOK = Look()


class Writer(NamedTuple):
    """A push; uses: the writer whose record it counts on, -1 = its own.

    record  "" = none, "young" (listings may miss it), "live", "gone"
    """

    at: str = "begin"
    item: int = 0
    look: Look = FIRST_LOOK
    record: str = ""
    uses: int = -1
    tagged: bool = False
    acked: bool = False
    pulled: bool = False

    @property
    def seen(self) -> bool:
        """Whether its record is there."""
        return self.record in ("young", "live")


class Collector(NamedTuple):
    """A run.

    trash   what it condemned
    moved   it has written its marker: nothing of it will be deleted any more
    listed  for each content the runs whose trash had it
    waited  the young records and the stale contents when it began to wait
    """

    at: str = "mark"
    item: int = 0
    marked: int = 0
    trash: int = 0
    moved: bool = False
    listed: tuple[int, ...] = ()
    waited: tuple[int, int] = (0, 0)


class Reader(NamedTuple):
    """A pull of the first writer's manifest; pledged: it was acknowledged when the pull began."""

    at: str = "ask"
    item: int = 0
    look: Look = FIRST_LOOK
    pledged: bool = False


class Remover(NamedTuple):
    """Removes records; sees: the writers whose records it is about to remove."""

    kind: str
    at: str = "list"
    sees: int = 0


class State(NamedTuple):
    """All that is stored, and how far everybody is. stale: gone, but lookups may still find it."""

    live: int
    stale: int
    writers: tuple[Writer, ...]
    collectors: tuple[Collector, ...]
    readers: tuple[Reader, ...]
    removers: tuple[Remover, ...]

    def writer(self, i: int, writer: Writer) -> State:
        return self._replace(writers=put(self.writers, i, writer))

    def collector(self, i: int, collector: Collector) -> State:
        return self._replace(collectors=put(self.collectors, i, collector))

    def record_of(self, i: int) -> Writer:
        """Return the writer on whose record a writer counts."""
        uses = self.writers[i].uses
        return self.writers[i if uses < 0 else uses]

    def in_trash(self, content: int) -> int:
        """Return the runs whose trash has the content."""
        runs = 0
        for i, run in enumerate(self.collectors):
            runs |= (run.trash >> content & 1) << i
        return runs

    def lost(self, content: int) -> bool:
        """Whether no bytes of it are left."""
        return not self.live >> content & 1 and not self.in_trash(content)


Move = tuple[str, State]


def put(values: tuple[T, ...], i: int, value: T) -> tuple[T, ...]:
    return (*values[:i], value, *values[i + 1 :])


def members(mask: int) -> list[int]:
    """Return the numbers of a set."""
    return [n for n in range(mask.bit_length()) if mask >> n & 1]


def numbers(mask: int) -> str:
    """Return the numbers of a set, for people."""
    return ", ".join(map(str, members(mask))) or "none"


def look(
    setup: Setup, state: State, content: int, so_far: Look
) -> Iterator[tuple[str, Look | str]]:
    """Do one step of a search: it goes on, or ends with "live", "trash" or "absent"."""
    done, runs = so_far
    if runs:
        for run in members(runs):
            if state.in_trash(content) >> run & 1:
                yield f"finds {content} in the trash of run {run}", "trash"
            else:
                rest = _go_on(setup, done, runs & ~(1 << run))
                yield f"finds {content} gone from the trash of run {run}", rest
    elif done % 2:
        runs = state.in_trash(content)
        yield f"lists the trash of {content}: {numbers(runs)}", _go_on(setup, done + 1, runs)
    else:
        if (state.live | state.stale) >> content & 1:
            yield f"finds {content}", "live"
        if not state.live >> content & 1:
            yield f"finds no {content}", _go_on(setup, done + 1, 0)


def _go_on(setup: Setup, done: int, runs: int) -> Look | str:
    looks = 2 if Mistake.SHORT_LOOK in setup.mistakes else LOOKS
    return Look(done, runs) if runs or done < looks else "absent"
