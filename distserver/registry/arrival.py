"""Whether an image is here whole: the files of a storage that is copied arrive in any order.

Syncthing or rsync may bring a tag before its manifest, and a manifest before its layers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from cachetools import LRUCache

from distserver.oci.digests import Digest
from distserver.oci.manifests import parse_manifest
from distserver.registry.blobs import Blobs

if TYPE_CHECKING:
    from distserver.registry.manifests import StoredManifest

MAX_DEPTH = 4
REMEMBERED = 100_000

Member = Callable[[Digest], "StoredManifest | None"]
"""Returns a manifest of the same repository, None if it is not here."""


class Arrivals:
    """Remembers which images have arrived, since files do not go away by themselves."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._lock = threading.Lock()
        self._here: LRUCache[tuple[str, Digest], bool] = LRUCache(REMEMBERED)

    def is_here(self, name: str, stored: StoredManifest, member: Member) -> bool:
        """Whether all that a pull needs has arrived in this repository. Raises: Unavailable."""
        key = (name, stored.digest)
        with self._lock:
            if self._here.get(key):
                return True
        if not is_whole(stored, partial(self._blobs.arrived, name), member):
            return False
        with self._lock:
            self._here[key] = True
        return True


def is_whole(
    stored: StoredManifest,
    has_blob: Callable[[Digest], bool],
    member: Member,
    depth: int = MAX_DEPTH,
) -> bool:
    """Whether a node can run it from what is here: of an index, at least one member.

    depth  of indexes in indexes that are followed
    """
    manifest = parse_manifest(stored.data, stored.media_type)
    if not all(has_blob(blob.digest) for blob in manifest.blobs):
        return False
    if not manifest.children:
        return True
    members = (member(child.digest) for child in manifest.children) if depth else ()
    return any(found and is_whole(found, has_blob, member, depth - 1) for found in members)
