"""What is searched: setups in which nothing may be wrong, and mistakes that must be found.

`python -m tests.model.cases` prints a shortest trace of each mistake.
"""

from __future__ import annotations

from dataclasses import replace

from tests.counts import FULL, count
from tests.model.search import search
from tests.model.storage import Mistake, Setup

BOTH = {"move": True, "link, delete": False}
GONE = "content is gone"
RECORD_GONE = "the record is gone"
ABSENT = "told that acknowledged content is absent"
ROBBED = "given a manifest whose blobs are gone"


def _pushes(writers: int) -> tuple[tuple[int, ...], ...]:
    return ((0,),) * writers


ALIKE = {
    f"{writers} writers × {runs} runs, {readers} readers, {way}": Setup(
        _pushes(writers), collectors=runs, readers=readers, atomic=atomic
    )
    for way, atomic in BOTH.items()
    for writers, runs, readers in count(
        [(2, 1, 1), (1, 2, 1), (2, 2, 0)], [(2, 1, 1), (1, 2, 1), (2, 2, 1), (1, 3, 1), (3, 3, 0)]
    )
}
"""Of one content; writers do the same as each other, and runs too."""

EVICTED = Setup(_pushes(2), readers=1, first="pulled", removers=("evict",))
UNTAGGED = Setup(_pushes(2), readers=1, first="untagged", removers=("untagged",))
DIFFERENT = {
    "two manifests share a blob": Setup(((0, 1), (1,)), collectors=1, readers=1),
    "a manifest's own bytes are content": Setup(((0, 1),), own=True, readers=1),
    "pushes share records and take none back": Setup(_pushes(2), shares=True),
    "listings and lookups are late": Setup(_pushes(2), late=True),
    "a listing omits what the census knows": Setup(
        _pushes(2), lies=True, first="acknowledged", readers=1
    ),
    "an image is evicted, pulled and pushed": EVICTED,
    "untagged manifests are removed": UNTAGGED,
}
if FULL:
    DIFFERENT |= {
        f"two manifests share a blob, 2 runs, {way}": Setup(
            ((0, 1), (1,)), collectors=2, atomic=atomic
        )
        for way, atomic in BOTH.items()
    }

MISTAKES = {
    Mistake.NO_LOOK_AGAIN: (GONE, Setup()),
    Mistake.NO_LOOK_AT_OWN: (GONE, Setup(((0, 1),), own=True)),
    Mistake.SHARED_RECORD: (RECORD_GONE, Setup(_pushes(2))),
    Mistake.PULLED_COUNTS: (RECORD_GONE, EVICTED),
    Mistake.NO_SECOND_MARK: (GONE, Setup()),
    Mistake.LATE_LIST: (GONE, Setup(collectors=2)),
    Mistake.ONE_TRASH_NAME: (GONE, Setup(collectors=2)),
    Mistake.ADOPTED_EARLY: (GONE, Setup(collectors=2, atomic=False)),
    Mistake.SHARED_DATA: (GONE, Setup(atomic=False)),
    Mistake.SHORT_LOOK: (ABSENT, Setup(collectors=2, readers=1)),
    Mistake.NO_WAIT: (GONE, Setup(late=True)),
    Mistake.SHORT_WAIT: (GONE, Setup(late=True)),
    Mistake.NO_CENSUS: (GONE, Setup(lies=True, first="acknowledged")),
    Mistake.BLOBS_FIRST: (ROBBED, EVICTED),
    Mistake.UNTAGGED_AT_ONCE: (RECORD_GONE, UNTAGGED),
    Mistake.UNSEEN_REMOVED: (RECORD_GONE, UNTAGGED),
    Mistake.OLD_COUNTS: (RECORD_GONE, UNTAGGED),
}
"""What each leads to, and who must take part for it to show."""
if FULL:
    MISTAKES[Mistake.OWN_PURGED] = (ABSENT, Setup(collectors=3, readers=1))

RUNS = count(2, 3)
HARMLESS = {
    "trash of runs that are not through is purged, move": (
        Mistake.ADOPTED_EARLY,
        Setup(collectors=RUNS, readers=1),
    ),
    **{
        f"{Mistake.RESTORED_PURGED}, {way}": (
            Mistake.RESTORED_PURGED,
            Setup(collectors=RUNS, readers=1, atomic=atomic),
        )
        for way, atomic in BOTH.items()
    },
}
"""What may be done, though it is not needed."""


def with_mistake(setup: Setup, mistake: Mistake) -> Setup:
    """Return a setup in which everybody makes a mistake."""
    return replace(setup, mistakes=frozenset({mistake}))


if __name__ == "__main__":
    for each, (_, shown) in MISTAKES.items():
        print(f"\n# {each}\n{search(with_mistake(shown, each))}")
