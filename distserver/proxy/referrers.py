"""Referrers that an upstream knows: a Referrers around a Referrers.

What the upstream lists is pulled, so that what is listed here is held here. An upstream that cannot
be asked is never told as "there are none": of a signature that is an answer. Offline, what is held
is all there is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Future, wait
from typing import Any

from backends.errors import StorageError
from distserver.oci.digests import Digest
from distserver.oci.errors import Denied, ManifestUnknown, RegistryError
from distserver.oci.references import fallback_tag
from distserver.proxy.background import Jobs
from distserver.proxy.freshness import Freshness
from distserver.proxy.manifests import ProxiedManifests
from distserver.proxy.sources import Source, Sources, told
from distserver.proxy.upstream.errors import (
    UpstreamAbsent,
    UpstreamError,
    UpstreamPage,
    UpstreamUnavailable,
)
from distserver.proxy.upstream.mode import ONLINE, Mode
from distserver.registry import Registry
from distserver.registry.referrers import Referrers

log = logging.getLogger(__name__)

MOST = 100
"""Referrers of one subject that are pulled."""
KNOWN_SECONDS, UNKNOWN_SECONDS = 2.0, 20.0
"""How long a client waits where the upstream's list is known, and where it is not."""


class ProxiedReferrers(Referrers):
    """What is held and, as far as it can be asked, what the upstream lists."""

    def __init__(
        self,
        registry: Registry,
        manifests: ProxiedManifests,
        sources: Sources,
        freshness: Freshness,
        mode: Mode,
    ) -> None:
        super().__init__(registry.backend, registry.manifests)
        self._pulled, self._sources = manifests, sources
        self._freshness, self._mode = freshness, mode
        self._jobs: Jobs[None] = Jobs("referrers", 64)

    def list(self, name: str, subject: Digest, after: str = "") -> Iterator[dict[str, Any]]:
        """See Referrers.list. Raises: also Denied, ServiceUnavailable."""
        source = self._sources.of(name)
        if source and not after:
            self._refresh(source, name, subject)
        return super().list(name, subject, after)

    def held(self, name: str, subject: Digest) -> Iterator[Digest]:
        """Yield what is held. Asks no upstream. Raises: StorageError."""
        return (Digest.parse(entry["digest"]) for entry in super().list(name, subject))

    def bring(self, name: str, subject: Digest) -> None:
        """Pull what the upstream lists now. Raises: UpstreamError, RegistryError, StorageError."""
        source = self._sources.of(name)
        if source:
            self._bring(source, name, subject)

    def _refresh(self, source: Source, name: str, subject: Digest) -> None:
        """Ask the upstream if it is time to, and wait for it as long as a client can."""
        what, mode = _what(subject), self._mode.now()
        known, ttl = self._freshness.ever(name, what), source.upstream.ttl_seconds
        if source.uplink.offline or self._freshness.is_fresh(name, what, ttl):
            return
        job = self._jobs.start((name, subject), lambda: self._bring(source, name, subject))
        if known and mode != ONLINE:
            return
        try:
            with source.uplink.limits.seats.take():
                _await(job, KNOWN_SECONDS if known else UNKNOWN_SECONDS)
        except (UpstreamError, RegistryError, StorageError) as exc:
            if not known and isinstance(exc, UpstreamError):
                raise told(exc, ManifestUnknown()) from exc
            if not known:
                raise
            log.info("referrers of %s@%s as they are held: %s", name, subject, exc)

    def _bring(self, source: Source, name: str, subject: Digest) -> None:
        try:
            listed = source.uplink.ask(lambda r: r.referrers(source.repository, subject))
        except (UpstreamAbsent, UpstreamPage):
            listed = self._from_fallback_tag_there(name, subject)
        for digest in sorted(listed)[:MOST]:
            try:
                self._pulled.get(name, digest)
            except (ManifestUnknown, Denied) as exc:
                log.info("%s lists %s as a referrer: %s", name, digest, exc.message)
        self._freshness.validated(name, _what(subject))

    def _from_fallback_tag_there(self, name: str, subject: Digest) -> set[Digest]:
        """The referrers that an upstream without this API keeps under a tag."""
        try:
            self._pulled.get(name, fallback_tag(subject))
        except (ManifestUnknown, Denied):
            return set()
        return self._from_fallback_tag(name, subject)


def _await(job: Future[None] | None, seconds: float) -> None:
    if job is None or not wait([job], seconds).done:
        raise UpstreamUnavailable("the upstream has not answered yet")
    job.result()


def _what(subject: Digest) -> str:
    return f"referrers of {subject}"
