"""Manifests in the memory of a process, by record: the bytes behind one never change."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import TYPE_CHECKING

from cachetools import LRUCache

from distserver.oci.digests import Digest

if TYPE_CHECKING:
    from distserver.registry.manifests import StoredManifest

OVERHEAD_BYTES = 512
"""Of each one, beside its bytes."""


class ManifestMemory:
    """Least recently used manifests, never out of date. max_bytes: of all of them; 0 = none."""

    def __init__(self, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._kept: LRUCache[str, StoredManifest] = LRUCache(max_bytes, _size)

    def get(self, record: str) -> StoredManifest | None:
        """Return the manifest of a record, if it is remembered."""
        with self._lock:
            return self._kept.get(record)

    def keep(self, record: str, stored: StoredManifest) -> None:
        """Remember the manifest of a record, unless it is too large."""
        with self._lock:
            if _size(stored) <= self._kept.maxsize:
                self._kept[record] = stored

    def forget(self, digests: Collection[Digest]) -> int:
        """Keep none that was purged; return how many went."""
        with self._lock:
            purged = [key for key, stored in self._kept.items() if stored.digest in digests]
            for key in purged:
                del self._kept[key]
        return len(purged)


def _size(stored: StoredManifest) -> int:
    return len(stored.data) + OVERHEAD_BYTES
