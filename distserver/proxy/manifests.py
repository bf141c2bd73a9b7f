"""Manifests that are fetched when somebody asks: a Manifests around a Manifests."""

from __future__ import annotations

import logging
from dataclasses import replace

from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestUnknown, ServiceUnavailable
from distserver.oci.manifests import parse_manifest
from distserver.oci.names import Tag
from distserver.oci.references import Reference
from distserver.proxy.completion import Completion
from distserver.proxy.freshness import Freshness
from distserver.proxy.sources import Source, Sources, told
from distserver.proxy.upstream_errors import UpstreamError
from distserver.proxy.upstream_registry import Fetched
from distserver.registry import Registry
from distserver.registry.manifests import Manifests, StoredManifest

log = logging.getLogger(__name__)

REVALIDATE_SECONDS = 2.0


class ProxiedManifests(Manifests):
    """By digest and held: answered at once. By tag: validated by its upstream now and then.

    Whatever hinders the validation, the held copy is served, and says that it is stale.
    """

    def __init__(
        self,
        registry: Registry,
        cache_bytes: int,
        sources: Sources,
        completion: Completion,
        memory: Freshness,
        ttl: float,
    ) -> None:
        super().__init__(
            registry.backend,
            registry.content,
            registry.records,
            registry.blobs,
            registry.tags,
            cache_bytes,
        )
        self._sources, self._freshness, self._ttl = sources, memory, ttl
        self._completion = completion

    def get(self, name: str, reference: Reference) -> StoredManifest:
        """See Manifests.get. Raises: also Denied, ServiceUnavailable."""
        source = self._sources.of(name)
        try:
            held = super().get(name, reference)
        except ManifestUnknown as absent:
            if source is None:
                raise
            return self._fetch(source, name, reference, absent)
        if source is None or not held.pulled:
            return held  # one that was pushed here is pinned
        if isinstance(reference, Tag):
            held = self._validated(source, name, reference, held)
        return self._completed(source, name, held)

    def _completed(self, source: Source, name: str, held: StoredManifest) -> StoredManifest:
        """The manifest, if its content is here or can come. Raises: ServiceUnavailable."""
        if not self._completion.is_complete(name, held):
            manifest = parse_manifest(held.data, held.media_type)
            self._completion.begin(source, name, held.digest, manifest)
            if not source.breaker.closed():
                error = source.breaker.state().error
                raise ServiceUnavailable(f"held without all its layers, and {error}")
        return held

    def _validated(
        self, source: Source, name: str, tag: Tag, held: StoredManifest
    ) -> StoredManifest:
        if self._freshness.is_fresh(name, tag, self._ttl):
            return held
        try:
            now = source.ask(lambda r: r.resolve(source.repository, tag, REVALIDATE_SECONDS))
            if now != held.digest:
                return self._keep(name, tag, self._ask(source, now or tag))
        except UpstreamError as exc:
            log.info("%s:%s served stale: %s", name, tag, exc.reason)
            return replace(held, stale=True)
        self._freshness.validated(name, tag)
        return held

    def _fetch(
        self, source: Source, name: str, reference: Reference, absent: ManifestUnknown
    ) -> StoredManifest:
        try:
            return self._keep(name, reference, self._ask(source, reference))
        except UpstreamError as exc:
            raise told(exc, absent) from exc

    def _ask(self, source: Source, reference: Reference) -> Fetched:
        return source.ask(lambda r: r.manifest(source.repository, reference))

    def _keep(self, name: str, reference: Reference, fetched: Fetched) -> StoredManifest:
        tags = [] if isinstance(reference, Digest) else [reference]
        self.keep(name, fetched.digest, fetched.body, fetched.manifest, tags)
        if source := self._sources.of(name):
            self._completion.begin(source, name, fetched.digest, fetched.manifest)
        for tag in tags:
            self._freshness.validated(name, tag)
        return super().get(name, fetched.digest)
