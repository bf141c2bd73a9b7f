"""Brings what an image lacks: its blobs, and what others say of it. For the background and preload.

Whoever calls decides which members of an index are wanted, and what is done about a failure.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from distserver.oci.digests import Digest
from distserver.oci.errors import Denied, ManifestUnknown, Purged, ServiceUnavailable
from distserver.oci.manifests import Descriptor
from distserver.oci.names import Tag
from distserver.oci.references import Reference
from distserver.proxy.begun import Begun
from distserver.proxy.completion import signature_tags
from distserver.proxy.fetching.flights import Flights
from distserver.proxy.freshness import Freshness
from distserver.proxy.manifests import ProxiedManifests
from distserver.proxy.referrers import ProxiedReferrers
from distserver.proxy.sources import Source, Sources
from distserver.proxy.upstream.errors import UpstreamPage
from distserver.registry.blobs import Blobs
from distserver.registry.manifests import StoredManifest

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bringing:
    """The parts of a proxied registry that bring something.

    blobs      what is held; asks no upstream
    manifests  fetch what they lack, referrers likewise
    begun      images whose completion was begun
    """

    sources: Sources
    flights: Flights
    blobs: Blobs
    manifests: ProxiedManifests
    referrers: ProxiedReferrers
    begun: Begun
    freshness: Freshness

    def blob(self, source: Source, name: str, blob: Descriptor) -> None:
        """Bring a blob that a held manifest names, unless it is held.

        Raises: UpstreamError, NoRoom, Unavailable, Purged.
        Blocks on: the upstream, as long as bytes come.
        """
        if not self.blobs.has(name, blob.digest):
            self.flights.finish(source.wanted(blob.digest, blob.size, background=True))

    def signatures(self, name: str, digest: Digest) -> None:
        """Pull what cosign keeps in tags, and the referrers.

        Raises: UpstreamError, RegistryError, StorageError.
        """
        for tag in signature_tags(digest):
            try:
                self.manifests.get(name, Tag(tag))
            except (ManifestUnknown, Denied) as exc:
                log.debug("no %s: %s", tag, exc.message)
            except ServiceUnavailable as exc:
                if not isinstance(exc.__cause__, UpstreamPage):
                    raise
        self.referrers.bring(name, digest)
        self.freshness.validated(name, _what(digest))

    def signatures_came(self, name: str, digest: Digest) -> bool:
        """Whether all that was said of an image was pulled before, as far as is remembered."""
        return self.freshness.ever(name, _what(digest))

    def forget(self, name: str, digest: Digest) -> None:
        """Let what is said of an image be pulled again with it: it is not held any more."""
        self.freshness.forget(name, _what(digest))

    def said_of(self, name: str, digest: Digest) -> list[StoredManifest]:
        """Return the signatures and referrers of an image that are held. Raises: StorageError."""
        tags = map(Tag, signature_tags(digest))
        references: list[Reference] = [*tags, *self.referrers.held(name, digest)]
        found = []
        for reference in references:
            try:
                found.append(self.manifests.held(name, reference))
            except (ManifestUnknown, Purged) as exc:
                log.debug("no %s: %s", reference, exc.message)
        return found


def _what(digest: Digest) -> str:
    return f"what is said of {digest}"
