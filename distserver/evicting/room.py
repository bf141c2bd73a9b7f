"""How much has to go, by the cap on what was pulled and by the floor of free space. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from backends.base import Space

START, TARGET = 0.95, 0.9
"""Parts of the cap: from when on images go, until less than which is left."""
MIN_RESERVE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an operator said; see the keys cache_bytes, cache_free_bytes and reserve_bytes."""

    cap_bytes: int
    free_bytes: int
    reserve_bytes: int

    @property
    def apply(self) -> bool:
        """Whether anything may ever have to go."""
        return bool(self.cap_bytes or self.free_bytes > 0 or self._by_reserve)

    @property
    def _by_reserve(self) -> bool:
        return self.free_bytes < 0 and self.reserve_bytes != 0

    def excess(self, pulled: int, underway: int, space: Space | None) -> int:
        """Return the bytes that have to go; 0 = none.

        pulled    bytes of pulled content in the storage
        underway  of blobs that will come there
        space     None = the storage does not know its room
        """
        over = 0
        if self.cap_bytes and self.is_low(self.left(pulled, underway)):
            over = pulled + underway - int(TARGET * self.cap_bytes)
        return max(over, self.floor(space) - space.free_bytes if space else 0, 0)

    def left(self, pulled: int, underway: int) -> int:
        """Return the bytes that may come before the cap is reached; < 0 = it is exceeded."""
        return self.cap_bytes - pulled - underway

    def is_low(self, left: int) -> bool:
        """Whether so few bytes may come before the cap is reached that images have to go."""
        return left <= (1 - START) * self.cap_bytes

    def floor(self, space: Space) -> int:
        """Return the free bytes that shall be left."""
        if self.free_bytes >= 0:
            return self.free_bytes
        if self.reserve_bytes >= 0:
            return 2 * self.reserve_bytes
        # Of a reserve that is used up the size is not known, but that it is as large as this.
        reserve = space.free_bytes - space.usable_bytes if space.usable_bytes else 0
        return 2 * max(reserve, MIN_RESERVE_BYTES, 0 if space.usable_bytes else space.free_bytes)
