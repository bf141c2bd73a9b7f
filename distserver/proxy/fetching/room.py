"""Room on the disk for partial blobs: a bound in bytes, and free space that is left alone."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from distserver.oci.digests import Digest
from distserver.proxy.fetching.allowance import Allowance
from distserver.proxy.fetching.partial import Partial

MAX_AGE_SECONDS = 7 * 86400.0


class NoRoom(Exception):
    """The node has no room for this blob: it is handed on to its client and not kept.

    size  bytes of the whole blob; None = not known
    """

    def __init__(self, reason: str, size: int | None = None) -> None:
        super().__init__(reason)
        self.size = size


class Room:
    """The partials of a node.

    directory      of all partials, two levels above each
    most_bytes     that all of them may have, when those that are being fetched are whole
    reserve_bytes  free space that they leave; -1 = the larger of 1 GiB and 2 %
    allowance      what may still come into the cache; None = there is no cap
    """

    def __init__(
        self,
        directory: Path,
        most_bytes: int,
        reserve_bytes: int,
        allowance: Allowance | None = None,
    ) -> None:
        self.directory, self._allowance = directory, allowance
        self._most_bytes, self._reserve_bytes = most_bytes, reserve_bytes

    def require(self, wanted: Partial, size: int) -> None:
        """Make sure that the rest of a partial may come.

            size  bytes of the whole
        Raises: NoRoom, OSError.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        others = (other for other in self.all() if other.directory != wanted.directory)
        if size + sum(map(_taken, others)) > self._most_bytes:
            raise NoRoom(f"partial blobs may have {self._most_bytes >> 20} MiB in all", size)
        self._require_free(size - wanted.available(), size)
        # A blob whose size is known was let in before.
        if self._allowance and wanted.size() is None and not self._allowance.take(size):
            raise NoRoom("what was pulled has reached its cap, cache_bytes", size)

    def underway(self) -> dict[str, int]:
        """Return the bytes that partials have, or will have, by digest as a text. Raises: OSError.

        One that the storage took a moment ago may be among them.
        """
        return {each.directory.name.replace("-", ":", 1): _taken(each) for each in self.all()}

    def fetching(self) -> frozenset[str]:
        """Return the digests, as texts, of the blobs that somebody fetches now. Raises: OSError."""
        locked = (each.directory.name for each in self.all() if each.is_locked())
        return frozenset(name.replace("-", ":", 1) for name in locked)

    def _require_free(self, count: int, size: int) -> None:
        disk = os.statvfs(self.directory)
        total, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
        reserve = max(1 << 30, total // 50) if self._reserve_bytes < 0 else self._reserve_bytes
        if count > free - reserve:
            left = max(0, free - reserve)
            raise NoRoom(f"{left >> 20} MiB are free for {count >> 20} MiB more", size)

    def all(self) -> Iterator[Partial]:
        """Yield the partials that are there."""
        for path in self.directory.glob("*/*/lock"):
            yield Partial(path.parent)

    def forget(self, digests: Collection[Digest]) -> int:
        """Remove the partials of what was purged; return how many. Raises: OSError.

        One that somebody fetches is removed by him.
        """
        names = {f"{digest.algorithm}-{digest.hex}" for digest in digests}
        found = (partial for partial in self.all() if partial.directory.name in names)
        return sum(map(_removed, found)) if names else 0

    def sweep(self, max_age_seconds: float = MAX_AGE_SECONDS) -> int:
        """Remove partials that nobody has worked on for so long; return how many.

        Raises: OSError.
        """
        removed = 0
        for partial in self.all():
            if time.time() - _touched(partial.directory) < max_age_seconds:
                continue
            removed += _removed(partial)
        return removed


def _removed(partial: Partial) -> bool:
    """Remove a partial unless somebody fetches it; return whether it was. Raises: OSError."""
    lock = partial.try_lock()
    if lock is None:
        return False
    with lock:
        lock.remove()
    return True


def _taken(partial: Partial) -> int:
    """Bytes that a partial has, or will have if somebody fetches it now. Raises: OSError."""
    here = partial.available()
    return max(here, partial.size() or 0) if partial.is_locked() else here


def _touched(directory: Path) -> float:
    """When something in the directory was last written."""
    try:
        return max(path.stat().st_mtime for path in (directory, *directory.iterdir()))
    except FileNotFoundError:
        return time.time()
