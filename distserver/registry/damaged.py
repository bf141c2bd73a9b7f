"""Which stored copies were found damaged: told to every server of a storage, until one is mended.

Clients ask by HEAD before they push. A damaged copy that still counted as there would never be
pushed again, so it counts as absent for pushes and as unavailable for pulls.
"""

from __future__ import annotations

import logging
import time

from backends import Backend, put, read_all
from backends.base import Proves
from backends.errors import Corrupt, Incomplete, NotFound, StorageError
from backends.quarantine import aside
from distserver.oci.digests import Digest
from distserver.registry import layout
from distserver.registry.cache import ValidatedCache

log = logging.getLogger(__name__)

CACHE_BYTES = 1 << 20
MAX_MARK_BYTES = 64
UNREADABLE = b"unreadable"
"""Holds the mark of a copy whose time cannot be told either."""


class Damaged:
    """Marks under hints/damaged/, each holding the time of the copy that it speaks of."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._cache: ValidatedCache[frozenset[str]] = ValidatedCache(backend, CACHE_BYTES)

    def has(self, digest: Digest) -> bool:
        """Whether the copy that is stored now is marked. Raises: Unavailable."""
        key = layout.damaged(digest)
        if key not in self._marks():
            return False
        try:
            return self._speaks_of_current(key, digest)
        except NotFound:
            return False

    def all(self) -> frozenset[Digest]:
        """Return the digests of all stored copies that are marked. Raises: Unavailable."""
        return frozenset(d for d in map(layout.damaged_digest, self._marks()) if d and self.has(d))

    def mark(self, digest: Digest) -> None:
        """Mark the copy that is stored now; a storage that refuses is logged, nothing more."""
        try:
            put(self._backend, layout.damaged(digest), self._stamp(digest))
        except StorageError as exc:
            log.warning("the damage of %s is not marked: %s", digest, exc)

    def clear(self, digest: Digest) -> None:
        """Forget the mark of a copy that was replaced or proved. Raises: Unavailable.

        Also one that seems to speak of another: clocks differ, and some count whole seconds.
        """
        key = layout.damaged(digest)
        if key in self._marks():
            self._backend.delete(key)

    def keep_aside(self, digest: Digest) -> None:
        """Keep the bytes of a marked copy, which a good one is about to replace.

        A storage that refuses is logged, nothing more: the good copy counts. Raises: Unavailable.
        """
        if not self.has(digest):
            return
        try:
            key = aside(digest.algorithm, digest.hex, time.time())
            self._backend.link(layout.blob(digest), key)
        except StorageError as exc:
            log.warning("the damaged copy of %s is not kept: %s", digest, exc)

    def _marks(self) -> frozenset[str]:
        return self._cache.get("marks", (layout.DAMAGED,), self._load)

    def _load(self) -> frozenset[str]:
        marks = set()
        try:
            for key in self._backend.keys(layout.DAMAGED):
                marks.add(key)
        except Incomplete as exc:
            # The bytes are verified in any case: a mark only saves the reading.
            log.debug("not all marks of damage are known: %s", exc)
        return frozenset(marks)

    def _speaks_of_current(self, key: str, digest: Digest) -> bool:
        """Whether a mark speaks of what is stored now. Raises: NotFound.

        The copies of one entry in several places have several times: a mark speaks of those that
        are older than itself.
        """
        if isinstance(self._backend, Proves):
            copies = self._backend.stat(layout.blob(digest))
            return self._backend.stat(key).modified >= copies.modified
        return read_all(self._backend, key, MAX_MARK_BYTES) == self._stamp(digest)

    def _stamp(self, digest: Digest) -> bytes:
        try:
            return repr(self._backend.stat(layout.blob(digest)).modified).encode()
        except Corrupt:
            return UNREADABLE
