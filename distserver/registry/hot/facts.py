"""What the storage last said of names: kept by this node, believed only while the storage is away.

A fact is positive: this repository has that blob or manifest, that tag names this digest. What is
absent is never kept, so nothing is ever denied from here. One small file each:

    <hash of kind, repository and reference>     JSON; its time = when it was last true

A removal through this node leaves a mark in the place of the fact, with the time when it was
durable. A question that was asked before that time cannot write the fact again, so that no removal
which this node acknowledged is ever undone. Of removals elsewhere this node does not hear while the
storage is away: a fact counts for max_age_seconds after it was last true, and no longer.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cachetools import LRUCache

from distserver.oci.digests import Digest
from distserver.registry.hot.tier import remove_older
from distserver.registry.locks import LOCK_SECONDS, lock

log = logging.getLogger(__name__)

NOTED_AGAIN_SECONDS = 10.0
"""A fact that did not change is noted no more often than this."""
_MAX_BYTES = 8192
_REMOVED = "removed"
_REMEMBERED = 10_000

About = tuple[str, str, str]
"""Kind (blob, manifest or tag), repository, digest or tag."""


def now() -> int:
    """The time of a question or a removal: nanoseconds since this machine started."""
    return time.monotonic_ns()


class Facts:
    """The facts of a node.

    max_age_seconds   how long one counts; 0 = none is kept
    """

    def __init__(self, directory: Path, max_age_seconds: float) -> None:
        self._directory, self._max_age = directory, max_age_seconds
        self._lock = threading.Lock()
        self._noted: LRUCache[About, tuple[float, str]] = LRUCache(_REMEMBERED)

    def begin(self) -> None:
        """Make the directory; without it nothing is known, and removals leave no marks.

        A disk that refuses is logged, nothing more.
        """
        try:
            if self._max_age:
                self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            log.warning("nothing is kept for an outage of the storage: %s", exc)

    def note(self, about: About, value: Mapping[str, Any], asked: int) -> None:
        """Keep a fact, unless it was removed after the question.

        asked  now(), taken before the storage was asked
        A disk that refuses is logged, nothing more.
        """
        text = json.dumps({"about": about, **value})
        if not self._max_age or self._was_noted(about, text):
            return
        self.begin()
        try:
            with self._locked(about) as path:
                if _removed(path) < asked:
                    _write(path, text)
        except OSError as exc:
            log.warning("what was said of %s is not kept: %s", about, exc)
            self._forget(about)

    def remove(self, about: About) -> None:
        """Forget a fact, after its removal is durable and before it is acknowledged.

        A disk that has no room for a mark has none for a fact that comes late either.
        Raises: OSError: then the removal must not be acknowledged.
        """
        self._forget(about)
        if not self._max_age or not self._directory.is_dir():
            return
        with self._locked(about) as path:
            try:
                _write(path, json.dumps({_REMOVED: now()}))
            except OSError as exc:
                log.warning("no mark is left of the removal of %s: %s", about, exc)
                path.unlink(missing_ok=True)

    def get(self, about: About) -> tuple[Mapping[str, Any], float] | None:
        """Return a fact, and how many seconds ago it was true; None = none that counts."""
        path = self._path(about)
        try:
            age = time.time() - path.stat().st_mtime
        except OSError as exc:
            log.debug("nothing is known of %s: %s", about, exc)
            return None
        value = _read(path)
        if _REMOVED in value or value.get("about") != list(about):
            return None
        return (value, age) if 0 <= age <= self._max_age else None

    def forget(self, digests: Collection[Digest]) -> int:
        """Remove the facts that name purged content; return how many. Raises: OSError."""
        texts, removed = {str(digest) for digest in digests}, 0
        for path in self._directory.glob("*") if texts else ():
            fact = _read(path)
            if not texts.isdisjoint([*fact.get("about", []), fact.get("digest")]):
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def sweep(self) -> int:
        """Remove what does not count any more; return how many files. Raises: OSError."""
        return remove_older(self._directory.glob("*"), self._max_age + 1)

    def _was_noted(self, about: About, text: str) -> bool:
        at = time.monotonic()
        with self._lock:
            before = self._noted.get(about)
            if before and before[1] == text and at - before[0] < NOTED_AGAIN_SECONDS:
                return True
            self._noted[about] = (at, text)
        return False

    def _forget(self, about: About) -> None:
        with self._lock:
            self._noted.pop(about, None)

    def _path(self, about: About) -> Path:
        return self._directory / hashlib.sha256("\0".join(about).encode()).hexdigest()

    @contextmanager
    def _locked(self, about: About) -> Iterator[Path]:
        """Lend the file of a fact; nobody else writes a fact meanwhile, of any process."""
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            lock(fd, LOCK_SECONDS)
            yield self._path(about)
        finally:
            os.close(fd)


def _read(path: Path) -> dict[str, Any]:
    """Return what a file holds; nothing if it is damaged, or was never written."""
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _removed(path: Path) -> int:
    """When the fact was removed; 0 = it was not, or before this machine was started."""
    at = _read(path).get(_REMOVED, 0)
    return at if isinstance(at, int) and at <= now() else 0


def _write(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.write_text(text)
    new.rename(path)
