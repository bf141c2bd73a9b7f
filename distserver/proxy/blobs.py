"""Blobs that are fetched when somebody asks: a Blobs around a Blobs."""

from __future__ import annotations

from backends.base import Reader
from distserver.oci.digests import Digest
from distserver.oci.errors import BlobUnknown
from distserver.proxy.flights import Flights, Wanted
from distserver.proxy.sources import Source, Sources, told
from distserver.proxy.upstream_errors import UpstreamError
from distserver.registry.blobs import Blobs
from distserver.registry.content import Content
from distserver.registry.records import RecordStore

ASK_SECONDS = 5.0


class ProxiedBlobs(Blobs):
    """What is held is served without a word to anybody; what is not is fetched once."""

    def __init__(
        self, content: Content, records: RecordStore, sources: Sources, flights: Flights
    ) -> None:
        super().__init__(content, records)
        self._local = Blobs(content, records)
        self._sources, self._flights = sources, flights

    def has(self, name: str, digest: Digest) -> bool:
        """See Blobs.has: what is held. Asks no upstream."""
        return self._local.has(name, digest)

    def size(self, name: str, digest: Digest) -> int:
        """See Blobs.size; begins the fetch of a blob that is not held.

        Raises: also Denied, ServiceUnavailable.
        """
        try:
            return self._local.size(name, digest)
        except BlobUnknown as absent:
            wanted = self._wanted(name, digest, absent)
            try:
                return self._flights.size(wanted)
            except UpstreamError as exc:
                raise told(exc, absent) from exc

    def open(self, name: str, digest: Digest, start: int = 0, stop: int | None = None) -> Reader:
        """See Blobs.open; follows the fetch of a blob that is not held. Raises: as size."""
        try:
            return self._local.open(name, digest, start, stop)
        except BlobUnknown as absent:
            wanted = self._wanted(name, digest, absent)
            try:
                end = self._flights.size(wanted) if stop is None else stop
                return self._flights.open(wanted, start, end)
            except UpstreamError as exc:
                raise told(exc, absent) from exc

    def _wanted(self, name: str, digest: Digest, absent: BlobUnknown) -> Wanted:
        source = self._sources.of(name)
        if source is None:
            raise absent
        if not self._readable(name, digest):
            self._ask_right(source, name, digest, absent)
        return source.wanted(digest)

    def _ask_right(self, source: Source, name: str, digest: Digest, absent: BlobUnknown) -> None:
        """Bytes are shared, the right to read them is not: this repository's upstream decides."""
        try:
            there = source.ask(lambda r: r.has_blob(source.repository, digest, ASK_SECONDS))
        except UpstreamError as exc:
            raise told(exc, absent) from exc
        if not there:
            raise absent
        self.record(name, digest)
