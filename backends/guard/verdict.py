"""What follows from one probe after another: up, down or recovering. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

LATE_SECONDS = 3.0
"""A probe that takes longer finds the storage down; writing its 4 KiB takes a slow NFS 0.1 s."""
GOOD_PROBES = 5
"""So many in a row bring a storage back, so that one that comes and goes is left alone."""


class State(Enum):
    """How far a storage can be relied on to answer at all; an error is an answer."""

    UP = "up"
    SUSPECT = "suspect"
    DOWN = "down"
    RECOVERING = "recovering"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known from the probes.

    state   UP, DOWN or RECOVERING
    good    probes in a row that were answered in time since it was down
    """

    state: State = State.UP
    good: int = 0

    def answered(self, wanted: int = GOOD_PROBES) -> Verdict:
        """Return the verdict after a probe that was answered in time.

        wanted  probes in a row that bring it back
        """
        if self.state is State.UP:
            return self
        if self.good + 1 < wanted:
            return Verdict(State.RECOVERING, self.good + 1)
        return Verdict()

    def silent(self) -> Verdict:
        """Return the verdict after a probe that was not answered in time."""
        return Verdict(State.DOWN)
