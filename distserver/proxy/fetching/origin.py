"""Where one blob comes from: its upstream's base URLs, but for those whose bytes proved wrong."""

from __future__ import annotations

import logging

from distserver.oci.digests import Digest
from distserver.proxy.upstream.errors import UpstreamCorrupt, UpstreamLied
from distserver.proxy.upstream.registry import STALL_SECONDS, Body, UpstreamRegistry
from distserver.proxy.upstream.uplink import Uplink

log = logging.getLogger(__name__)


class BlobOrigin:
    """An Origin (fetch): one blob of one repository of an upstream.

    size  what a manifest says of it; None = not known
    """

    def __init__(
        self, uplink: Uplink, repository: str, digest: Digest, size: int | None = None
    ) -> None:
        self._uplink, self._repository, self._digest = uplink, repository, digest
        self._size = size
        self._used: set[str] = set()

    def open(self, start: int, stall_seconds: float = STALL_SECONDS) -> Body:
        """See Origin.open."""
        lies = self._uplink.distrusted(self._digest)
        if len(lies) == len(self._uplink.places):
            raise next(iter(lies.values()))
        return self._uplink.ask(lambda r: self._open(r, start, stall_seconds), avoid=lies)

    def blame(self, mixed: bool) -> None:
        """See Origin.blame."""
        if not mixed and len(self._used) == 1:
            lie = UpstreamCorrupt(f"its bytes were not those of {self._digest}")
            self._uplink.distrust(self._digest, self._used.pop(), lie)
        self._used.clear()

    def _open(self, registry: UpstreamRegistry, start: int, stall_seconds: float) -> Body:
        body = registry.blob(self._repository, self._digest, start, stall_seconds)
        if self._size not in (None, body.size):
            body.close()
            lie = UpstreamLied(f"it has {body.size} bytes there, its manifest says {self._size}")
            self._uplink.distrust(self._digest, registry.url, lie)
            raise lie
        self._used.add(registry.url)
        return body
