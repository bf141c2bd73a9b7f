"""How many members must have answered. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quorum:
    """Sizes for a set of so many members: any `read` of them meet any `write` of them."""

    members: int
    write: int

    @property
    def read(self) -> int:
        """Members whose answers, taken together, know of every acknowledged write."""
        return self.members - self.write + 1


def quorum_of(members: int, degraded_ack: bool = False) -> Quorum:
    """Return the sizes for a set: a majority writes.

    degraded_ack  of two members one is enough to acknowledge: a choice of the operator, since its
                  loss is then the loss of what was acknowledged
    """
    if degraded_ack and members == 2:
        return Quorum(members, 1)
    return Quorum(members, members // 2 + 1)
