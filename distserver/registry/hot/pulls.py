"""Parts of a registry around those that ask the storage: pulls go on while it is away.

The storage is asked first. Only when it cannot be asked is a pull answered by Recall, and when that
cannot either, the storage's failure is told: nothing is ever denied on the word of a fact.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from backends.base import Reader
from backends.errors import Corrupt, RangeInvalid, Unavailable
from distserver.oci.digests import Digest
from distserver.oci.manifests import Manifest
from distserver.oci.names import Tag
from distserver.oci.references import Reference
from distserver.registry.blobs import Blobs, Found
from distserver.registry.hot.facts import now
from distserver.registry.hot.recall import BLOB, MANIFEST, TAG, Recall
from distserver.registry.local import Registry
from distserver.registry.manifests import Pushed, StoredManifest
from distserver.registry.pulled import PulledManifests
from distserver.registry.tags import Tags

log = logging.getLogger(__name__)

Away = Unavailable | Corrupt


def recalling(registry: Registry, recall: Recall) -> Registry:
    """Return a registry that serves what it can while its storage is away. Touches nothing."""
    return replace(
        registry,
        blobs=RecallingBlobs(registry, recall),
        manifests=RecallingManifests(registry, recall),
        tags=RecallingTags(registry, recall),
    )


class RecallingBlobs(Blobs):
    """Blobs whose copies are served while the storage is away."""

    def __init__(self, registry: Registry, recall: Recall) -> None:
        super().__init__(registry.content, registry.records)
        self._inner, self._recall = registry.blobs, recall

    def size(self, name: str, digest: Digest) -> int:
        """See Blobs.size."""
        try:
            return self._inner.size(name, digest)
        except (Unavailable, Corrupt) as away:
            return self._recalled(name, digest, away)

    def find(self, name: str, digest: Digest) -> Found:
        """See Blobs.find. Of one that has a copy the storage is asked for the right only."""
        asked = now()
        try:
            found = self._warm(name, digest) or self._inner.find(name, digest)
        except (Unavailable, Corrupt) as away:
            found = Found(self._recalled(name, digest, away), partial(_refuse, away))
        else:
            self._recall.note_blob(name, digest, asked)
        return Found(found.size, partial(self._open, found, name, digest))

    def has(self, name: str, digest: Digest) -> bool:
        """See Blobs.has: what the storage has."""
        return self._inner.has(name, digest)

    def held_size(self, name: str, digest: Digest) -> int:
        """See Blobs.held_size: what the storage has."""
        return self._inner.held_size(name, digest)

    def delete(self, name: str, digest: Digest) -> None:
        """See Blobs.delete."""
        self._inner.delete(name, digest)
        self._recall.removed(BLOB, name, digest)

    def _warm(self, name: str, digest: Digest) -> Found | None:
        """A blob that has a copy and may be read; None = the inner one knows better."""
        size = self._recall.content.copy_size(digest)
        if size is None or not self._readable(name, digest):
            return None
        return Found(size, partial(self._inner.open, name, digest))

    def _open(
        self, found: Found, name: str, digest: Digest, start: int, stop: int | None
    ) -> Reader:
        """Open its copy, else what was found.

        Raises: also Unavailable where the size that was told was a damaged copy's.
        """
        try:
            reader = self._recall.content.open_copy(digest, start, stop)
        except (Corrupt, RangeInvalid) as exc:
            log.warning("%s@%s is not served by its copy: %s", name, digest, exc)
            reader = None
        if reader:
            self._inner.note_hit(name, (reader.size if stop is None else stop) - start)
            return reader
        reader = found.open(start, stop)
        if reader.size != found.size:
            reader.close()
            raise Unavailable(f"the copy of {digest} was damaged: it is dropped, ask again")
        return reader

    def _recalled(self, name: str, digest: Digest, away: Away) -> int:
        """Size of a blob that is served without the storage. Raises: away, if it is not."""
        size = self._recall.blob_size(name, digest)
        if size is None:
            raise away
        log.info("%s@%s is served by its copy: %s", name, digest, away)
        return size


def _refuse(away: Away, start: int, stop: int | None) -> Reader:
    raise away


class RecallingManifests(PulledManifests):
    """Manifests whose copies are served while the storage is away."""

    def __init__(self, registry: Registry, recall: Recall) -> None:
        super().__init__(
            registry.backend,
            registry.content,
            registry.records,
            registry.blobs,
            registry.tags,
            cache_bytes=0,  # the inner one remembers
        )
        self._inner, self._recall = registry.manifests, recall

    def get(self, name: str, reference: Reference) -> StoredManifest:
        """See Manifests.get."""
        asked = now()
        try:
            stored = self._inner.get(name, reference)
        except (Unavailable, Corrupt) as away:
            recalled = self._recall.manifest(name, reference)
            if recalled is None:
                raise
            log.info("%s:%s is served by its copy: %s", name, reference, away)
            return recalled
        self._recall.note_manifest(name, reference, stored, asked)
        return stored

    def held(self, name: str, reference: Reference) -> StoredManifest:
        """See Manifests.held: what the storage has."""
        return self._inner.held(name, reference)

    def put(
        self,
        name: str,
        reference: Digest | None,
        tags: Sequence[Tag],
        body: bytes,
        content_type: str | None,
    ) -> Pushed:
        """See Manifests.put."""
        pushed = self._inner.put(name, reference, tags, body, content_type)
        for tag in tags:
            self._recall.removed(TAG, name, tag)  # what it named before
        return pushed

    def keep(
        self, name: str, digest: Digest, body: bytes, manifest: Manifest, tags: Sequence[Tag]
    ) -> None:
        """See PulledManifests.keep."""
        self._inner.keep(name, digest, body, manifest, tags)
        for tag in tags:
            self._recall.removed(TAG, name, tag)

    def delete(self, name: str, digest: Digest) -> None:
        """See Manifests.delete. The tags that named it count no more without it."""
        self._inner.delete(name, digest)
        self._recall.removed(MANIFEST, name, digest)


class RecallingTags(Tags):
    """Tags whose removal is not forgotten while the storage is away."""

    def __init__(self, registry: Registry, recall: Recall) -> None:
        super().__init__(registry.backend, registry.records)
        self._inner, self._recall = registry.tags, recall

    def names(self, name: str) -> set[Tag]:
        """See Tags.names."""
        return self._inner.names(name)

    def delete(self, name: str, tag: Tag) -> None:
        """See Tags.delete."""
        self._inner.delete(name, tag)
        self._recall.removed(TAG, name, tag)
