"""How many members must have answered. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backends.base import Space


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


def common_space(spaces: Sequence[Space | None], write: int) -> Space | None:
    """Return what so many members have room for; those that do not know have it. Pure."""
    known = [space for space in spaces if space]
    needed = write - (len(spaces) - len(known))
    if needed <= 0:
        return None

    def common(values: Iterable[int]) -> int:
        return sorted(values, reverse=True)[needed - 1]

    return Space(
        free_bytes=common(space.free_bytes for space in known),
        usable_bytes=common(space.usable_bytes for space in known),
        usable_inodes=common(space.usable_inodes for space in known),
    )
