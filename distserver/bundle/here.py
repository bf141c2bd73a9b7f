"""Brings images into this node's storage, by the same way as a pull: what is preloaded is served.

A server may run beside it: both know of each other's fetches by the state directory.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from backends.base import HasSpace
from backends.errors import Corrupt, StorageError
from distserver.bundle.images import Image
from distserver.bundle.plan import Failure, Plan, Top
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestUnknown, RegistryError
from distserver.oci.manifests import Descriptor
from distserver.oci.names import Tag
from distserver.proxy.fetching.partial import Partial
from distserver.proxy.fetching.room import NoRoom
from distserver.proxy.registry import Proxied
from distserver.proxy.sources import Source
from distserver.proxy.upstream.errors import (
    FINAL,
    UpstreamBusy,
    UpstreamError,
    UpstreamOffline,
)
from distserver.registry.manifests import StoredManifest

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 60.0
BUSY_SECONDS = 3600.0
"""Others fetch, as many at once as may be: a server beside us, say."""
OFFLINE = "it is not held here, and the mode is offline (`distserver mode online` lets it come)"


class Here:
    """A Place (plan): the storage of this node, and the upstreams that it is configured for."""

    def __init__(self, proxied: Proxied) -> None:
        self._registry, self._bringing = proxied.registry, proxied.bringing
        self._manifests = proxied.bringing.manifests

    def top(self, image: Image) -> Top:
        """See Place.top. A tag costs one question to the upstream."""
        if image.digest:
            return Top(self.manifest(image.name, image.digest))
        with _failures():
            held, source = self._held(image.name, image.reference), self._source(image.name)
            if held and (source is None or not held.pulled):
                return Top(held, note="" if source is None else "it was pushed here, and stays so")
        return self._validated(self._require(source, image.name), image, held)

    def manifest(self, name: str, digest: Digest) -> StoredManifest:
        """See Place.manifest."""
        with _failures():
            return self._held(name, digest) or self._manifests.get(name, digest)

    def said_of(self, name: str, stored: StoredManifest) -> Sequence[StoredManifest]:
        """See Place.said_of. The upstream is asked once for each image, and not by every run."""
        source, digest = self._source(name), stored.digest
        if source and stored.pulled and source.upstream.signatures:
            with _failures("its signatures: "):
                self._bring_signatures(source, name, digest)
        with _failures():
            return self._bringing.said_of(name, digest)

    def missing(self, name: str, blobs: Collection[Descriptor]) -> list[Descriptor]:
        """See Place.missing."""
        with _failures():
            return [blob for blob in blobs if not self._bringing.blobs.has(name, blob.digest)]

    def bring(self, name: str, blob: Descriptor) -> None:
        """See Place.bring."""
        with _failures():
            source = self._require(self._source(name), name)
            source.uplink.require_online()
            self._bringing.blob(source, name, blob)

    def arrived(self, name: str, blob: Descriptor) -> int:
        """See Place.arrived."""
        source = self._source(name)
        try:
            return Partial(source.wanted(blob.digest).directory).available() if source else 0
        except OSError as exc:
            log.debug("a partial blob cannot be read: %s", exc)
            return 0

    def usable_bytes(self) -> int | None:
        """See Place.usable_bytes: what is free, without the reserve."""
        backend = self._registry.backend
        with _failures():
            return backend.space().usable_bytes if isinstance(backend, HasSpace) else None

    def finish(self, plan: Plan) -> None:
        """See Place.finish."""
        name, tag = plan.image.name, plan.image.tag
        with _failures():
            for digest in plan.parts:
                if not self._held(name, digest):
                    raise Failure("the storage does not keep it")
                self._bringing.begun.remove(name, digest)
            if tag and self._source(name):
                self._manifests.follow(name, tag, plan.top.stored, plan.top.validated)

    def _bring_signatures(self, source: Source, name: str, digest: Digest) -> None:
        if not source.uplink.offline and not self._bringing.signatures_came(name, digest):
            self._bringing.signatures(name, digest)

    def _validated(self, source: Source, image: Image, held: StoredManifest | None) -> Top:
        """What the upstream says that a tag means; what is held, if it cannot say it."""
        tag = Tag(str(image.reference))
        try:
            now = source.uplink.ask(lambda r: r.resolve(source.repository, tag))
        except UpstreamError as exc:
            if held is None:
                raise _failure(exc) from exc
            return Top(held, note=f"as it is held: {exc.reason}")
        with _failures():
            stored = self.manifest(image.name, now) if now else None
            return Top(stored or self._manifests.get(image.name, tag), validated=True)

    def _held(self, name: str, reference: Digest | Tag) -> StoredManifest | None:
        """What is held and intact; None for what has to come. Raises: StorageError."""
        try:
            return self._manifests.held(name, reference)
        except (ManifestUnknown, Corrupt):
            return None

    def _source(self, name: str) -> Source | None:
        return self._bringing.sources.of(name)

    def _require(self, source: Source | None, name: str) -> Source:
        if source is None:
            raise Failure("it is not held here, and no upstream may be asked for it (allow, deny)")
        return source


@contextmanager
def _failures(what: str = "") -> Iterator[None]:
    """Say in words why something did not come. Raises: Failure."""
    try:
        yield
    except (RegistryError, UpstreamError, NoRoom, StorageError, OSError) as exc:
        raise _failure(exc, what) from exc


def _failure(error: Exception, what: str = "") -> Failure:
    """The words for an error: those of the upstream, where one was asked."""
    told = error.__cause__ if isinstance(error, RegistryError) else error
    if isinstance(told, UpstreamOffline):
        return Failure(OFFLINE)
    if isinstance(told, UpstreamError):
        return Failure(what + told.reason, _patience(told))
    if isinstance(error, ManifestUnknown):
        return Failure("the upstream does not have it")
    if isinstance(error, NoRoom):  # others may give theirs back
        return Failure(f"no room for it on its way: {error}", PATIENCE_SECONDS)
    kind = "the storage: " if isinstance(error, StorageError) else ""
    return Failure(f"{kind}{error}")


def _patience(error: UpstreamError) -> float:
    if isinstance(error, FINAL):
        return 0.0
    return BUSY_SECONDS if isinstance(error, UpstreamBusy) else PATIENCE_SECONDS
