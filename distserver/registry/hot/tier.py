"""A bounded directory on this node's own disk with copies of content that is stored elsewhere.

    <alg>-<hex>            a whole copy, which had this digest when it got its name
    filling/<alg>-<hex>    one on its way, locked by who writes it

Shared by all processes of a node, safe to delete at any time. Not fsynced: a copy that a power cut
damaged fails the proof that each process makes before it trusts it, and is dropped.

When all copies are larger than the bound, those that were asked for longest ago go. The bound may
be overrun by what is on its way, and by a 64th for each process: not each copy is followed by a
look.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from backends.base import Reader
from backends.errors import RangeInvalid
from backends.files import FileReader
from backends.lookups import open_file
from distserver.oci.digests import Digest
from distserver.registry.hot.filling import Filling

log = logging.getLogger(__name__)

USED_AGAIN_SECONDS = 60.0
"""A copy is noted as used no more often than this."""
ABANDONED_SECONDS = 86400.0
_LOOK_PARTS = 64


class Tier:
    """The copies of a node.

    max_bytes      of all copies together
    reserve_bytes  free space on the disk that copies leave alone
    """

    def __init__(self, directory: Path, max_bytes: int, reserve_bytes: int) -> None:
        self._directory, self._max_bytes = directory, max_bytes
        self._reserve_bytes = reserve_bytes
        self._lock = threading.Lock()
        self._added = 0
        self._used = directory.is_dir()

    def open(self, digest: Digest, start: int = 0, stop: int | None = None) -> Reader | None:
        """Open the range [start, stop) of a copy; None = there is none. Raises: RangeInvalid."""
        if not self._in_use():
            return None
        try:
            fd, size = open_file(str(self._path(digest)), None)
        except OSError as exc:
            _note_failure(exc)
            return None
        stop = size if stop is None else stop
        if not 0 <= start <= stop <= size:
            os.close(fd)
            raise RangeInvalid(f"{digest}: {start}..{stop} of {size}")
        _note_use(fd)
        return FileReader(fd, size, start, stop)

    def size(self, digest: Digest) -> int | None:
        """Size of a copy in bytes; None = there is none."""
        if not self._in_use():
            return None
        try:
            return self._path(digest).stat().st_size
        except OSError as exc:
            _note_failure(exc)
            return None

    def drop(self, digest: Digest) -> bool:
        """Remove a copy that was found damaged; return whether there was one."""
        try:
            self._path(digest).unlink()
        except OSError as exc:
            _note_failure(exc)
            return False
        return True

    def link(self, path: str, digest: Digest) -> None:
        """Keep a finished file whose digest was proved, by another name where that can be."""
        try:
            size = Path(path).stat().st_size
            if not self._has_room(size):
                return
            self._make()
            self._path(digest).hardlink_to(path)
        except OSError as exc:
            log.debug("no copy of %s is kept: %s", digest, exc)
        else:
            self.grew(size)

    def filling(self, digest: Digest, size: int) -> Filling | None:
        """Begin a copy; None where there is one, no room, or somebody who writes it already.

        size  bytes that it will have; 0 = not known
        """
        if self.size(digest) is not None or not self._has_room(size):
            return None
        try:
            self._make()
            return Filling(self._directory / "filling" / self._path(digest).name, self.grew)
        except OSError as exc:
            log.debug("no copy of %s is kept: %s", digest, exc)
            return None

    def grew(self, size: int) -> None:
        """Take note of a new copy, and look for old ones that have to go now and then."""
        with self._lock:
            self._used = True
            self._added += size
            if self._added < self._max_bytes // _LOOK_PARTS:
                return
            self._added = 0
        try:
            self.evict()
        except OSError as exc:
            log.warning("%s: old copies stay: %s", self._directory, exc)

    def evict(self) -> int:
        """Remove what was asked for longest ago until the rest fits; return how many copies went.

        Does nothing while another process does it. Raises: OSError.
        """
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self._evict()
        except BlockingIOError:
            return 0
        finally:
            os.close(fd)

    def _evict(self) -> int:
        with os.scandir(self._directory) as entries:
            status = [(e.path, e.stat()) for e in entries if e.is_file(follow_symlinks=False)]
        taken, removed = sum(found.st_size for _, found in status), 0
        most = min(self._max_bytes, taken + self._spare())
        for path, found in sorted(status, key=lambda item: item[1].st_atime):
            if taken <= most:
                break
            Path(path).unlink(missing_ok=True)
            taken, removed = taken - found.st_size, removed + 1
        return removed

    def sweep(self) -> int:
        """Remove what dead processes left half-written; return how many. Raises: OSError."""
        return remove_older(self._directory.glob("filling/*"), ABANDONED_SECONDS)

    def _in_use(self) -> bool:
        """Whether there was ever a copy; where the storage is local nobody looks for one."""
        self._used = self._used or self._directory.is_dir()
        return self._used

    def _has_room(self, size: int) -> bool:
        if not self._max_bytes or size > self._max_bytes // 2:
            return False
        try:
            return self._spare() > size
        except OSError as exc:
            log.debug("%s: %s", self._directory, exc)
            return False

    def _spare(self) -> int:
        """Bytes that copies may still take of the disk, negative when the reserve is touched."""
        existing = next(
            path for path in (self._directory, *self._directory.parents) if path.is_dir()
        )
        disk = os.statvfs(existing)
        return disk.f_bavail * disk.f_frsize - self._reserve_bytes

    def _make(self) -> None:
        (self._directory / "filling").mkdir(parents=True, exist_ok=True)

    def _path(self, digest: Digest) -> Path:
        return self._directory / f"{digest.algorithm}-{digest.hex}"


def remove_older(paths: Iterable[Path], seconds: float) -> int:
    """Remove files that were not written to for so long; return how many. Raises: OSError."""
    before, removed = time.time() - seconds, 0
    for path in paths:
        try:
            if path.stat().st_mtime < before:
                path.unlink()
                removed += 1
        except FileNotFoundError:
            continue  # by another process
    return removed


def _note_use(fd: int) -> None:
    """Set the time of access: the kernel may not do it (relatime, noatime)."""
    status, now = os.fstat(fd), time.time()
    if abs(now - status.st_atime) < USED_AGAIN_SECONDS:
        return
    try:
        os.utime(fd, ns=(int(now * 1e9), status.st_mtime_ns))
    except OSError as exc:
        log.debug("a use is not noted: %s", exc)


def _note_failure(exc: OSError) -> None:
    """Log why there is no copy to use; that there is none is no news."""
    if not isinstance(exc, FileNotFoundError):
        log.warning("a copy cannot be used: %s", exc)
