"""Images go: those that were not pulled for longest, if their upstream has them just now.

Manifests go before their blobs, so that nobody gets a manifest whose blobs are gone; bytes go by
the collector, which keeps what anything else names.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from distserver.evicting.images import Image, Look, Looker, Repository
from distserver.oci.digests import Digest
from distserver.oci.errors import BlobUnknown
from distserver.proxy.bringing import Bringing
from distserver.proxy.memory import Memory
from distserver.proxy.sources import Source, Sources
from distserver.proxy.upstream.errors import UpstreamAbsent, UpstreamError, UpstreamOffline
from distserver.registry import Registry, layout

log = logging.getLogger(__name__)

OFFLINE, UNREACHABLE, ABSENT = "offline", "unreachable", "absent"
MOST_IMAGES = 50
"""That go at once; then the collector runs, and the storage is looked at again."""
ABSENT_SECONDS = 600.0

Collect = Callable[[frozenset[Digest]], object]
"""Frees these digests, as far as nothing names them. Raises: StorageError; it may be repeated."""
Keeps = Callable[[Image], str | None]
"""Why an image must stay, in a word; None = it may go."""


@dataclass(frozen=True, slots=True)
class Evicted:
    """What went, in bytes, and how many images stayed for which reason."""

    images: int = 0
    bytes: int = 0
    kept: Counter[str] = field(default_factory=Counter)


class Evictor:
    """Chooses and removes images."""

    def __init__(
        self, registry: Registry, bringing: Bringing, looker: Looker, collect: Collect
    ) -> None:
        self._registry, self._bringing = registry, bringing
        self._looker, self._collect = looker, collect
        self._uncollected: set[Digest] = set()
        self._absent: Memory[str, bool] = Memory(10_000, ABSENT_SECONDS)

    def evict(self, look: Look, order: Iterable[Image], need: int, keeps: Keeps) -> Evicted:
        """Let images go until so many bytes are freed, MOST_IMAGES at most.

        order  of all images of the look, first to go first
        Raises: StorageError; what went until then is collected by the next call of collect.
        """
        choice, asking, kept = (
            _Choice(look),
            _Asking(self._bringing.sources, self._absent),
            Counter[str](),
        )
        for image in order:
            if choice.freed >= need or len(choice.images) >= MOST_IMAGES:
                break
            reason = keeps(image) or asking.hindrance(image, choice.alone(image))
            if reason:
                kept[reason] += 1
            else:
                choice.take(image)
        for name, manifests in choice.gone.items():
            self._remove(look.repositories[name], manifests)
        for image in choice.images:
            log.info("evicted: %s", image)
        self.collect()
        return Evicted(len(choice.images), choice.freed, kept)

    def collect(self) -> None:
        """Free the bytes of what went. Raises: StorageError; then they are freed another time."""
        if self._uncollected:
            self._collect(frozenset(self._uncollected))
            self._uncollected.clear()

    def _remove(self, repository: Repository, gone: Collection[Digest]) -> None:
        """Remove manifests, then the blobs that nothing else in the repository names."""
        name, rest = repository.name, repository.held.keys() - gone
        blobs = _blobs(repository, gone) - _blobs(repository, rest)
        self._uncollected |= {*gone, *blobs}
        for digest in gone:
            prefix = layout.manifest_records(name, digest)
            for record in repository.held[digest].records:  # a push since the look has another one
                self._registry.records.retract(prefix, record)
            self._bringing.forget(name, digest)
        for digest in blobs:
            try:
                self._registry.blobs.delete(name, digest)
            except BlobUnknown:
                log.debug("%s has no %s any more", name, digest)
        self._give_back(name, rest, blobs)

    def _give_back(self, name: str, known: Collection[Digest], blobs: Collection[Digest]) -> None:
        """Look again: a manifest that came meanwhile keeps the blobs that it counts on."""
        for digest in self._registry.manifests.digests(name) - set(known):
            for blob in set(self._looker.links(name, digest).blobs) & set(blobs):
                self._registry.blobs.record(name, blob)


class _Choice:
    """What would go, and what that frees.

    gone   manifests by repository
    freed  bytes
    """

    def __init__(self, look: Look) -> None:
        self._look, self._mentions = look, look.mentions.copy()
        self._holders: Counter[tuple[str, Digest]] = Counter()
        self.gone: dict[str, set[Digest]] = {}
        self.images: list[Image] = []
        self.freed = 0
        for name, repository in look.repositories.items():
            pushed = repository.closure(d for d, one in repository.held.items() if not one.pulled)
            self._holders.update((name, digest) for digest in pushed)
            for image in repository.images():
                self._holders.update((name, digest) for digest in image.manifests)

    def alone(self, image: Image) -> list[Digest]:
        """Return the manifests that no other image of the repository has."""
        return [d for d in image.manifests if self._holders[image.name, d] == 1]

    def take(self, image: Image) -> None:
        """Let an image go."""
        gone = self.alone(image)
        self._holders.subtract((image.name, digest) for digest in image.manifests)
        held = self._look.repositories[image.name].held
        for digest in gone:
            for named in {digest, *held[digest].links.blobs}:
                self._mentions[named] -= 1
                self.freed += 0 if self._mentions[named] else self._look.sizes[named]
        if gone:
            self.gone.setdefault(image.name, set()).update(gone)
            self.images.append(image)


class _Asking:
    """Asks upstreams whether they have what would go; one that does not answer is asked once."""

    def __init__(self, sources: Sources, absent: Memory[str, bool]) -> None:
        self._sources, self._absent = sources, absent
        self._silent: dict[str, str] = {}

    def hindrance(self, image: Image, manifests: Iterable[Digest]) -> str | None:
        """Why what is removed now could not come back; None = it could."""
        source = self._sources.of(image.name)
        if source is None:
            return ABSENT
        if reason := self._silent.get(source.upstream.name):
            return reason
        return next(filter(None, (self._lacks(source, image, d) for d in manifests)), None)

    def _lacks(self, source: Source, image: Image, digest: Digest) -> str | None:
        name = f"{image.name}@{digest}"
        if self._absent.get(name):
            return ABSENT
        try:
            found = source.uplink.ask(lambda r: r.resolve(source.repository, digest))
        except UpstreamAbsent:
            found = None
        except UpstreamError as exc:
            log.debug("%s stays: %s", image, exc.reason)
            reason = OFFLINE if isinstance(exc, UpstreamOffline) else UNREACHABLE
            return self._silent.setdefault(source.upstream.name, reason)
        if found == digest:
            return None
        self._absent.set(name, True)
        return ABSENT


def _blobs(repository: Repository, manifests: Iterable[Digest]) -> set[Digest]:
    return {blob for digest in manifests for blob in repository.held[digest].links.blobs}
