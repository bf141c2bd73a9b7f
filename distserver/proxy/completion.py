"""What was begun is completed: the config and layers of each image manifest that was pulled.

The link may drop between a manifest and its layers, and podman never changes its mirror after a
manifest. So layers are fetched in the background at once, and a manifest whose layers are not here
is not offered while its upstream cannot bring them.
Members of an index are completed when a node asks for them: that is the platform that is needed.
"""

from __future__ import annotations

import logging
import threading

from cachetools import LRUCache

from backends.errors import StorageError
from distserver.oci.digests import Digest
from distserver.oci.manifests import Manifest, parse_manifest
from distserver.proxy.flights import Flights
from distserver.proxy.sources import Source
from distserver.proxy.upstream_errors import UpstreamError
from distserver.registry.blobs import Blobs
from distserver.registry.manifests import Manifests, StoredManifest

log = logging.getLogger(__name__)

PARALLEL = 4
MAX_WAITING = 64
"""Images at work or waiting; what comes on top is completed when somebody asks for it again."""
MAX_DEPTH = 4


class Completion:
    """Completes images of this process's pulls, and knows which are complete.

    blobs      what is held; asks no upstream
    manifests  likewise
    """

    def __init__(self, blobs: Blobs, manifests: Manifests, flights: Flights) -> None:
        self._blobs, self._manifests, self._flights = blobs, manifests, flights
        self._lock = threading.Lock()
        self._complete: LRUCache[tuple[str, Digest], bool] = LRUCache(100_000)
        self._waiting: set[tuple[str, Digest]] = set()
        self._turn = threading.BoundedSemaphore(PARALLEL)

    def begin(self, source: Source, name: str, digest: Digest, manifest: Manifest) -> None:
        """Fetch what the image lacks, in the background; once, however often it is asked for."""
        key = (name, digest)
        with self._lock:
            if key in self._waiting or len(self._waiting) >= MAX_WAITING or not manifest.blobs:
                return
            self._waiting.add(key)
        # Daemon threads: a stopping worker does not wait for them, the bytes so far stay.
        work = (source, name, digest, manifest)
        threading.Thread(target=self._run, args=work, name="complete", daemon=True).start()

    def is_complete(self, name: str, stored: StoredManifest, depth: int = MAX_DEPTH) -> bool:
        """Whether a node can run it from what is held: of an index, at least one member.

        Raises: Unavailable.
        """
        key = (name, stored.digest)
        with self._lock:
            if key in self._complete:
                return True
        manifest = parse_manifest(stored.data, stored.media_type)
        complete = all(self._blobs.has(name, blob.digest) for blob in manifest.blobs)
        if manifest.children:
            members = (child.digest for child in manifest.children)
            complete = depth > 0 and any(self._has(name, member, depth) for member in members)
        if complete:
            with self._lock:
                self._complete[key] = True
        return complete

    def _has(self, name: str, digest: Digest, depth: int) -> bool:
        if not self._manifests.has(name, digest):
            return False
        return self.is_complete(name, self._manifests.get(name, digest), depth - 1)

    def _run(self, source: Source, name: str, digest: Digest, manifest: Manifest) -> None:
        try:
            with self._turn:
                for blob in manifest.blobs:
                    if not self._blobs.has(name, blob.digest):
                        self._flights.finish(source.wanted(blob.digest))
        except (UpstreamError, StorageError) as exc:
            log.warning("%s@%s is not complete yet: %s", name, digest, exc)
        finally:
            with self._lock:
                self._waiting.discard((name, digest))
