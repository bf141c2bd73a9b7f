"""Manifests that are fetched when somebody asks: a Manifests around a Manifests."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from functools import partial

from backends.errors import StorageError
from distserver.metrics import Metrics
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestUnknown, Purged, RegistryError
from distserver.oci.manifests import parse_manifest
from distserver.oci.names import Tag
from distserver.oci.references import Reference
from distserver.proxy.background import Jobs
from distserver.proxy.completion import Completion
from distserver.proxy.freshness import Freshness
from distserver.proxy.memory import Memory
from distserver.proxy.sources import Source, Sources, told
from distserver.proxy.upstream.errors import (
    UpstreamAbsent,
    UpstreamBusy,
    UpstreamError,
    UpstreamLate,
    UpstreamUnavailable,
)
from distserver.proxy.upstream.mode import OFFLINE, ONLINE, PREFER_CACHE, Mode
from distserver.proxy.upstream.registry import Fetched
from distserver.proxy.upstream.uplink import ASK_SECONDS, Question
from distserver.registry import Registry
from distserver.registry.manifests import Pushed, StoredManifest
from distserver.registry.pulled import PulledManifests

log = logging.getLogger(__name__)

REVALIDATE_SECONDS = 2.0
"""How long a client waits for a tag's validation; it goes on without him."""
HOPE_SECONDS = 8.0
"""How long a client waits to hear whether an upstream can bring what an image lacks: over 600 ms of
latency a connection, TLS and a token take six."""
ABSENT_SECONDS = 10.0
BACKGROUND_SECONDS = 300.0
"""In the mode prefer-cache a tag is asked for in the background, this seldom at least."""
MAX_JOBS = 256


@dataclass(frozen=True, slots=True)
class Parts:
    """What the proxy's manifests need beside the registry's own."""

    sources: Sources
    completion: Completion
    freshness: Freshness
    mode: Mode
    metrics: Metrics


class ProxiedManifests(PulledManifests):
    """By digest and held: answered at once. By tag: validated by its upstream now and then.

    Whatever hinders the validation, the held copy is served, and says that it is stale.
    """

    def __init__(self, registry: Registry, cache_bytes: int, parts: Parts) -> None:
        super().__init__(
            registry.backend,
            registry.content,
            registry.records,
            registry.blobs,
            registry.tags,
            cache_bytes,
        )
        self._sources, self._completion = parts.sources, parts.completion
        self._freshness, self._mode = parts.freshness, parts.mode
        self._counted = parts.metrics
        self._jobs: Jobs[StoredManifest] = Jobs("manifest", MAX_JOBS)
        self._absent: Memory[tuple[str, Reference], bool] = Memory(4096, ABSENT_SECONDS)

    def get(self, name: str, reference: Reference) -> StoredManifest:
        """See Manifests.get. Raises: also Denied, ServiceUnavailable."""
        source = self._sources.of(name)
        if source is None:
            return super().get(name, reference)
        try:
            held = super().get(name, reference)
        except (ManifestUnknown, StorageError, Purged) as here:
            if isinstance(here, Purged) and isinstance(reference, Digest):
                raise
            self._count(reference, "miss")  # a tag may name something else there by now
            return self._fetched(source, name, reference, here)
        if not held.pulled:
            self._remember_pinned(name, reference)
            return held
        if isinstance(reference, Tag):
            held = self._validated(source, name, reference, held)
        self._count(reference, "stale" if held.warning else "hit")
        return self._offered(source, name, reference, held)

    def put(
        self,
        name: str,
        reference: Digest | None,
        tags: Sequence[Tag],
        body: bytes,
        content_type: str | None,
    ) -> Pushed:
        """See Manifests.put."""
        pushed = super().put(name, reference, tags, body, content_type)
        for tag in tags if self._sources.of(name) else ():
            self._remember_pinned(name, tag)
        return pushed

    def held(self, name: str, reference: Reference) -> StoredManifest:
        """See Manifests.held. Asks no upstream."""
        return super().held(name, reference)

    def follow(self, name: str, tag: Tag, stored: StoredManifest, validated: bool) -> None:
        """Let a tag that was not pushed here name a held manifest.

            validated  its upstream says so now
        Raises: Full, Unavailable.
        """
        self.keep(
            name, stored.digest, stored.data, parse_manifest(stored.data, stored.media_type), [tag]
        )
        if validated:
            self._freshness.validated(name, tag)

    def _offered(
        self, source: Source, name: str, reference: Reference, held: StoredManifest
    ) -> StoredManifest:
        """The manifest, if its content is here or can come: podman never changes mirror after it.

        A tag that moved to what does not come names what it named before.
        Raises: ManifestUnknown, Denied, ServiceUnavailable.
        """
        if self._completion.is_complete(name, held):
            return held
        try:
            self._require_hope(source, name, held)
        except UpstreamError as exc:
            if isinstance(reference, Tag) and (whole := self._whole_before(name, reference)):
                return replace(whole, warning=f"stale: {exc.reason}")
            raise told(exc, ManifestUnknown("held without all its layers")) from exc
        return held

    def _is_here(self, name: str, stored: StoredManifest) -> bool:
        """See Manifests; the content of a pulled one may come when it is asked for (_offered)."""
        if stored.pulled and self._sources.of(name):
            return True
        return super()._is_here(name, stored)

    def _require_hope(self, source: Source, name: str, held: StoredManifest) -> None:
        """Let what the manifest lacks be brought. Raises: UpstreamError if it will not come now."""
        manifest, digest = parse_manifest(held.data, held.media_type), held.digest
        try:
            self._completion.begin(source, name, digest, manifest)
            hindrance = self._completion.hindrance(source, name, manifest)
        except OSError as exc:
            log.warning("what %s@%s lacks is not remembered: %s", name, digest, exc)
            hindrance = None
        source.uplink.require_online()
        if hindrance:
            raise UpstreamUnavailable(hindrance)
        if not source.uplink.answers():
            question: Question[Digest | None] = lambda r: r.resolve(source.repository, digest)  # noqa: E731
            with source.uplink.limits.seats.take():
                source.uplink.ask_soon((name, digest), question, HOPE_SECONDS)

    def _whole_before(self, name: str, tag: Tag) -> StoredManifest | None:
        try:
            return self._by_tag(name, tag, partial(self._is_whole_here, name))
        except RegistryError as exc:
            log.debug("nothing that %s:%s named is whole: %s", name, tag, exc.message)
            return None

    def _is_whole_here(self, name: str, digest: Digest, record: str) -> bool:
        try:
            return self._completion.is_complete(name, self._by_record(name, digest, record))
        except ManifestUnknown:
            return False

    def _validated(
        self, source: Source, name: str, tag: Tag, held: StoredManifest
    ) -> StoredManifest:
        mode, ttl = self._mode.now(), source.upstream.ttl_of(source.repository, tag)
        if mode == PREFER_CACHE:
            ttl = max(ttl, BACKGROUND_SECONDS)
        if mode == OFFLINE or self._freshness.is_fresh(name, tag, ttl):
            return held
        job = self._jobs.start((name, tag), lambda: self._revalidate(source, name, tag, held, ttl))
        if mode != ONLINE:
            return held
        patient = source.uplink.worth_waiting_for()
        try:
            with source.uplink.limits.seats.take():
                return _result(job, REVALIDATE_SECONDS if patient else 0.0)
        except Purged as exc:
            return replace(held, warning=f"stale: {exc.message}")
        except UpstreamError as exc:
            if isinstance(exc, UpstreamLate) and patient:
                source.uplink.overran()
            if isinstance(exc, UpstreamAbsent) and source.upstream.honour_deletes:
                raise ManifestUnknown(detail={"tag": str(tag)}) from exc
            log.info("%s:%s served stale: %s", name, tag, exc.reason)
            self._counted.stale_answers.labels(source.upstream.name).inc()
            return replace(held, warning=f"stale: {exc.reason}")

    def _revalidate(
        self, source: Source, name: str, tag: Tag, held: StoredManifest, ttl: float
    ) -> StoredManifest:
        """Ask the upstream for the tag, however long it takes, and keep what it says."""
        if self._freshness.is_fresh(name, tag, ttl):  # somebody else's question just ended
            return super().get(name, tag)
        try:
            now = source.uplink.ask(lambda r: r.resolve(source.repository, tag))
        except UpstreamAbsent:
            if source.upstream.honour_deletes:
                self.drop(name, tag, held.digest)
            raise
        if now == held.digest:
            self._freshness.validated(name, tag)
            return held
        return self._keep(source, name, tag, self._ask(source, now or tag))

    def _fetched(
        self,
        source: Source,
        name: str,
        reference: Reference,
        here: RegistryError | StorageError,
    ) -> StoredManifest:
        pinned = isinstance(here, StorageError) and self._is_pinned(name, reference)
        if pinned or self._absent.get((name, reference)):
            raise here
        try:
            source.uplink.require_online()
            job = self._jobs.start(
                (name, reference),
                lambda: self._keep(source, name, reference, self._ask(source, reference)),
            )
            with source.uplink.limits.seats.take():
                return _result(job, 2 * ASK_SECONDS)
        except UpstreamError as exc:
            if isinstance(exc, UpstreamAbsent):
                self._absent.set((name, reference), True)
            raise told(exc, here) from exc

    def _remember_pinned(self, name: str, reference: Reference) -> None:
        """Note that a tag was pushed here, so that no other image is served for it when the storage
        is away.
        """
        what = f"{reference} is pinned"
        if isinstance(reference, Tag) and not self._freshness.ever(name, what):
            self._freshness.validated(name, what)

    def _is_pinned(self, name: str, reference: Reference) -> bool:
        return isinstance(reference, Tag) and self._freshness.ever(name, f"{reference} is pinned")

    def _ask(self, source: Source, reference: Reference) -> Fetched:
        if isinstance(reference, Digest):
            self._content.denied.require(reference)
        return source.uplink.ask(lambda r: r.manifest(source.repository, reference))

    def _keep(
        self, source: Source, name: str, reference: Reference, fetched: Fetched
    ) -> StoredManifest:
        """Keep a manifest and begin its completion; a storage that refuses it is no hindrance."""
        tags = [] if isinstance(reference, Digest) else [reference]
        try:
            self.keep(name, fetched.digest, fetched.body, fetched.manifest, tags)
            self._completion.begin(source, name, fetched.digest, fetched.manifest)
            for tag in tags:
                self._freshness.validated(name, tag)
            return super().get(name, reference)
        except StorageError as exc:
            log.warning("%s@%s is served and not kept: %s", name, fetched.digest, exc)
        kind = fetched.manifest.media_type
        return StoredManifest(fetched.digest, kind, fetched.body, pulled=True)

    def _count(self, reference: Reference, result: str) -> None:
        kind = "tag" if isinstance(reference, Tag) else "manifest"
        self._counted.cache_requests.labels(kind, result).inc()


def _result(job: Future[StoredManifest] | None, seconds: float) -> StoredManifest:
    """Wait for a job; None = it was not begun. Raises: UpstreamUnavailable, and its errors."""
    if job is None:
        raise UpstreamBusy("as many questions as may be wait for answers already")
    if not wait([job], seconds).done:
        raise UpstreamLate("the upstream has not answered yet")
    return job.result()
