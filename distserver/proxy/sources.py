"""From a repository's name here to its upstream: who may be asked, and what clients are told."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cachetools import LRUCache

from backends.errors import StorageError
from distserver.oci.digests import Digest
from distserver.oci.errors import Denied, RegistryError, ServiceUnavailable
from distserver.proxy.fetching.origin import BlobOrigin
from distserver.proxy.fetching.wanted import Wanted
from distserver.proxy.upstream.errors import (
    UpstreamAbsent,
    UpstreamError,
    UpstreamOffline,
    UpstreamRefused,
)
from distserver.proxy.upstream.table import Upstream, Upstreams
from distserver.proxy.upstream.uplink import Uplink

Connect = Callable[[Upstream], Uplink]
RETRY_SECONDS = (5, 30)
MAX_MEMBERS = 64
"""Members of one family that are remembered."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a repository comes from; repository is its name there."""

    uplink: Uplink
    repository: str
    partials: Path

    @property
    def upstream(self) -> Upstream:
        """What the configuration says of the upstream."""
        return self.uplink.upstream

    def wanted(self, digest: Digest, size: int | None = None, background: bool = False) -> Wanted:
        """One of its blobs, to be brought.

        size  what a manifest says of it; None = not known
        """
        name = f"{digest.algorithm}-{digest.hex}"
        directory = self.partials / self.upstream.directory / name
        origin = BlobOrigin(self.uplink, self.repository, digest, size)
        return Wanted(digest, directory, origin, self.uplink.limits, background)


class Sources:
    """The sources of a node. Upstreams are connected to when they are first asked.

    partials  directory of all partial blobs
    """

    def __init__(self, upstreams: Upstreams, connect: Connect, partials: Path) -> None:
        self._upstreams, self._connect, self._partials = upstreams, connect, partials
        self._lock = threading.Lock()
        # A member of a family drives out another; one that is forgotten is connected to again.
        self._uplinks: defaultdict[str, LRUCache[str, Uplink]]
        self._uplinks = defaultdict(lambda: LRUCache(MAX_MEMBERS))

    def of(self, name: str) -> Source | None:
        """Return the source of a repository; None for one of our own, or one not allowed."""
        found = self._upstreams.of_repository(name)
        if found is None or not found[0].allows(found[1]):
            return None
        upstream, repository = found
        with self._lock:
            uplinks = self._uplinks[upstream.family or upstream.name]
            uplink = uplinks.get(upstream.name) or self._connect(upstream)
            uplinks[upstream.name] = uplink
        return Source(uplink, repository, self._partials)


def told(error: UpstreamError, here: RegistryError | StorageError) -> RegistryError | StorageError:
    """What a client is told: absent only for a real 404, or where no traffic is wanted.

    here  why this node does not serve it; a storage that fails knows of no absence
    """
    if isinstance(error, UpstreamAbsent | UpstreamOffline) or isinstance(here, StorageError):
        return here
    if isinstance(error, UpstreamRefused):
        return Denied(error.reason)
    seconds = getattr(error, "retry_after", None) or 0
    wait = int(min(max(seconds, RETRY_SECONDS[0]), RETRY_SECONDS[1]))
    headers: Mapping[str, str] = {"Retry-After": str(wait)}
    return ServiceUnavailable(f"not held here, and {error.reason}", headers=headers)
