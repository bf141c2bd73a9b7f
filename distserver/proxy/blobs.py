"""Blobs that are fetched when somebody asks: a Blobs around a Blobs."""

from __future__ import annotations

import logging
import time
from functools import partial

from backends.base import Reader
from backends.errors import StorageError
from distserver.metrics import Metrics
from distserver.oci.digests import Digest
from distserver.oci.errors import BlobUnknown
from distserver.proxy.begun import Begun
from distserver.proxy.fetching.cold import ColdReader
from distserver.proxy.fetching.flights import Flights
from distserver.proxy.sources import Source, Sources, told
from distserver.proxy.upstream.errors import UpstreamError
from distserver.registry import Registry
from distserver.registry.blobs import Blobs, Found

log = logging.getLogger(__name__)

Here = BlobUnknown | StorageError


class ProxiedBlobs(Blobs):
    """What is held is served without a word to anybody; what is not is fetched once.

    A storage that fails, or holds a damaged copy, counts as not holding it.
    """

    def __init__(
        self, registry: Registry, sources: Sources, flights: Flights, begun: Begun, metrics: Metrics
    ) -> None:
        super().__init__(registry.content, registry.records)
        self._local = registry.blobs
        self._sources, self._flights, self._begun = sources, flights, begun
        self._metrics = metrics

    def held_size(self, name: str, digest: Digest) -> int:
        """See Blobs.held_size. Asks no upstream."""
        return self._local.size(name, digest)

    def has(self, name: str, digest: Digest) -> bool:
        """See Blobs.has: what is held. Asks no upstream."""
        return self._local.has(name, digest)

    def size(self, name: str, digest: Digest) -> int:
        """See Blobs.size; asks the upstream about a blob that is not held, and fetches nothing.

        Raises: also Denied, ServiceUnavailable.
        """
        try:
            return self._local.size(name, digest)
        except (BlobUnknown, StorageError) as here:
            source = self._source(name, here)
            try:
                with source.uplink.limits.seats.take():
                    return _size_there(source, digest)
            except UpstreamError as exc:
                raise told(exc, here) from exc

    def find(self, name: str, digest: Digest) -> Found:
        """See Blobs.find; begins the fetch of a blob that is not held.

        Raises: also Denied, ServiceUnavailable.
        """
        try:
            size = self._local.size(name, digest)
        except (BlobUnknown, StorageError) as here:
            return self._cold(self._source(name, here), name, digest, here)
        return Found(size, partial(self._open_held, name, digest))

    def _open_held(self, name: str, digest: Digest, start: int, stop: int | None) -> Reader:
        try:
            reader = self._local.open(name, digest, start, stop)
        except (BlobUnknown, StorageError) as here:
            return self._cold(self._source(name, here), name, digest, here).open(start, stop)
        self.note_hit(name, (reader.size if stop is None else stop) - start)
        return reader

    def note_hit(self, name: str, count: int) -> None:
        """See Blobs.note_hit."""
        if source := self._sources.of(name):
            self._metrics.cache_requests.labels("blob", "hit").inc()
            self._metrics.saved_bytes.labels(source.upstream.name).inc(count)

    def _cold(self, source: Source, name: str, digest: Digest, here: Here) -> Found:
        """Join, or begin, the fetch of a blob."""
        self._metrics.cache_requests.labels("blob", "miss").inc()
        wanted, since = source.wanted(digest, self._begun.size_of(name, digest)), time.monotonic()
        try:
            source.uplink.require_online()
            self._require_right(source, name, digest)
            size = self._flights.find_size(wanted, since)
        except UpstreamError as exc:
            raise told(exc, here) from exc

        def follow(start: int, stop: int | None) -> Reader:
            try:
                return ColdReader(self._flights, wanted, size, since, start, stop)
            except UpstreamError as exc:
                raise told(exc, here) from exc

        return Found(size, follow)

    def _require_right(self, source: Source, name: str, digest: Digest) -> None:
        """Bytes are shared, the right to read them is not: this repository's upstream decides.

        Raises: UpstreamError.
        """
        try:
            if self._readable(name, digest):
                return
        except StorageError as exc:
            log.debug("the upstream decides who may read %s: %s", digest, exc)
        with source.uplink.limits.seats.take():
            _size_there(source, digest)
        try:
            self.record(name, digest)
        except StorageError as exc:
            log.warning("the right to read %s is not kept: %s", digest, exc)

    def _source(self, name: str, here: Here) -> Source:
        """Where the repository comes from. Raises: here, if it comes from nowhere."""
        source = self._sources.of(name)
        if source is None:
            raise here
        return source


def _size_there(source: Source, digest: Digest) -> int:
    """Size of a blob that the upstream serves to us from that repository. Raises: UpstreamError."""
    return source.uplink.ask(lambda r: r.blob_size(source.repository, digest))
