"""Brings images into this node's storage, by the same way as a pull: what is preloaded is served.

A server may run beside it: both know of each other's fetches by the state directory.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from backends import space_of
from backends.errors import Corrupt, StorageError
from distserver.bundle.images import Image
from distserver.bundle.preloading.plan import Failure, Plan, Top
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestUnknown, Purged, RegistryError
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
TIDY_SECONDS, POLL_SECONDS = 2.0, 0.01
OFFLINE = "it is not held here, and the mode is offline (`distserver mode online` lets it come)"


class Here:
    """A Place (plan): the storage of this node, and the upstreams that it is configured for."""

    def __init__(self, proxied: Proxied) -> None:
        self._registry, self._bringing = proxied.registry, proxied.bringing
        self._manifests = proxied.bringing.manifests

    def top(self, image: Image) -> Top:
        """See Place.top. A held tag costs one question to the upstream."""
        if image.digest:
            return Top(self.manifest(image.name, image.digest))
        name, tag = image.name, Tag(str(image.reference))
        with _failures():
            held, source = self._held(name, tag), self._source(name)
            if held is None:
                self._require(source, name)
                return Top(self._manifests.get(name, tag), validated=True)
            if source is None or not held.pulled:
                return Top(held, note="it was pushed here, and stays so" if source else "")
            return self._validated(source, name, tag, held)

    def manifest(self, name: str, digest: Digest) -> StoredManifest:
        """See Place.manifest."""
        with _failures():
            return self._held(name, digest) or self._manifests.get(name, digest)

    def said_of(self, name: str, stored: StoredManifest) -> Sequence[StoredManifest]:
        """See Place.said_of. The upstream is asked once for each image, and not by every run."""
        source, digest = self._source(name), stored.digest
        with _failures():
            if source and stored.pulled and source.upstream.signatures:
                self._bring_signatures(source, name, digest)
            return self._bringing.said_of(name, digest)

    def missing(self, name: str, blobs: Collection[Descriptor]) -> list[Descriptor]:
        """See Place.missing."""
        with _failures():
            return [blob for blob in blobs if self._lacks(name, blob.digest)]

    def bring(self, name: str, blob: Descriptor) -> None:
        """See Place.bring."""
        with _failures():
            source = self._require(self._source(name), name)
            source.uplink.require_online()
            self._bringing.blob(source, name, blob)
            _tidied(Partial(source.wanted(blob.digest).directory))

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
        with _failures():
            space = space_of(self._registry.backend)
        return space.usable_bytes if space else None

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

    def _lacks(self, name: str, digest: Digest) -> bool:
        """Whether a blob is not held; who tries to bring a purged one is told why not."""
        try:
            return not self._bringing.blobs.has(name, digest)
        except Purged:
            return True

    def _bring_signatures(self, source: Source, name: str, digest: Digest) -> None:
        if not source.uplink.offline and not self._bringing.signatures_came(name, digest):
            self._bringing.signatures(name, digest)

    def _validated(self, source: Source, name: str, tag: Tag, held: StoredManifest) -> Top:
        """What the upstream says that a tag means; what is held, if it cannot say it."""
        there = source.repository
        try:
            now = source.uplink.ask(
                lambda r: r.resolve(there, tag) or r.manifest(there, tag).digest
            )
        except UpstreamError as exc:
            return Top(held, note=f"as it is held: {exc.reason}")
        return Top(self.manifest(name, now), validated=True)

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


def _tidied(partial: Partial) -> None:
    """Wait until the fetch has cleared up behind what it published: this process may end now."""
    deadline = time.monotonic() + TIDY_SECONDS
    while partial.directory.exists() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


@contextmanager
def _failures() -> Iterator[None]:
    """Say in words why something did not come. Raises: Failure."""
    try:
        yield
    except (RegistryError, UpstreamError, NoRoom, StorageError, OSError) as exc:
        raise _failure(exc) from exc


def _failure(error: Exception) -> Failure:
    """The words for an error: those of the upstream, where one was asked."""
    told = error.__cause__ if isinstance(error, RegistryError) else error
    if isinstance(told, UpstreamOffline):
        return Failure(OFFLINE)
    if isinstance(told, UpstreamError):
        return Failure(told.reason, _patience(told))
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
