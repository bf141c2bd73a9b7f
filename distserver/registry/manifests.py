"""Manifests of a repository, and the order of a push: any prefix of it is a consistent store."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from backends import Backend, put_once, read_all, settle
from backends.errors import Corrupt, NotFound, Unavailable
from distserver.oci.digests import Digest
from distserver.oci.errors import (
    BlobUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NotArrived,
    Purged,
)
from distserver.oci.manifests import MAX_MANIFEST_BYTES, Manifest, parse_manifest
from distserver.oci.names import Tag
from distserver.oci.references import Reference
from distserver.registry import layout
from distserver.registry.arrival import Arrivals
from distserver.registry.blobs import Blobs
from distserver.registry.content import Content
from distserver.registry.manifest_memory import ManifestMemory
from distserver.registry.manifest_record import MAX_RECORD_BYTES, field, type_of
from distserver.registry.records import LEASE_SECONDS, RecordStore
from distserver.registry.tags import Arrived, Tags

log = logging.getLogger(__name__)
NOT_ARRIVED = "a newer version of this tag has not arrived here yet"
PUSH_TRIES = 3
"""A push that loses against concurrent deletes of the same digest this often is refused."""


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it is served: exactly the bytes that were pushed, with their type.

    warning  why a tag may name something else elsewhere; "" = nothing to warn of
    pulled   it came from an upstream; a tag that was pushed here is never moved by one
    """

    digest: Digest
    media_type: str
    data: bytes
    warning: str = ""
    pulled: bool = False


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did: the digest that names the manifest, and its subject if it has one."""

    digest: Digest
    subject: Digest | None


class Manifests:
    """What end-3, end-7 and end-9 ask."""

    def __init__(
        self,
        backend: Backend,
        content: Content,
        records: RecordStore,
        blobs: Blobs,
        tags: Tags,
        cache_bytes: int,
    ) -> None:
        self._backend, self._content, self._records = backend, content, records
        self._blobs, self._tags = blobs, tags
        self._memory = ManifestMemory(cache_bytes)
        content.denied.listen(self._memory.forget)
        self._arrivals = Arrivals(blobs)

    def get(self, name: str, reference: Reference) -> StoredManifest:
        """Return a manifest by tag or digest, if all that a pull of it needs has arrived.

        A tag whose newest version was purged is not unknown, but purged.
        By digest one whose content has not is unknown, so that a push brings it; a tag names the
        version before it until then. Raises: ManifestUnknown, NotArrived, Unavailable, Corrupt.
        """
        if isinstance(reference, Tag):
            return self._by_tag(name, reference, partial(self._has_arrived, name))
        stored = self._by_digest(name, reference)
        if not self._is_here(name, stored):
            raise ManifestUnknown(NotArrived.message, detail={"digest": str(reference)})
        return stored

    def held(self, name: str, reference: Reference) -> StoredManifest:
        """As get, of what is stored here and nowhere else, whether its content is here or not."""
        if isinstance(reference, Tag):
            return self._by_tag(name, reference)
        return self._by_digest(name, reference)

    def has(self, name: str, digest: Digest) -> bool:
        """Whether this repository has the manifest. Raises: Unavailable."""
        return bool(self._records.read(layout.manifest_records(name, digest)).live)

    def digests(self, name: str) -> set[Digest]:
        """Return the digests of all manifests of a repository. Raises: Unavailable."""
        found = self._records.read_tree(layout.manifests(name))
        return {digest for digest, records in found.items() if records.live}

    def put(
        self,
        name: str,
        reference: Digest | None,
        tags: Sequence[Tag],
        body: bytes,
        content_type: str | None,
    ) -> Pushed:
        """Store a manifest under a digest, and let tags name it.

            reference  the digest that the client named; None = SHA-256 of the body
            tags       may be empty
        Raises: ManifestInvalid, ManifestTooLarge, DigestInvalid, ManifestBlobUnknown (nothing is
        visible then); Full, Unavailable. Spec: end-7.
        """
        manifest = parse_manifest(body, content_type)
        digest = Digest.of(body, reference.algorithm if reference else "sha256")
        if reference not in (None, digest):
            raise DigestInvalid(f"the manifest has the digest {digest}, not {reference}")
        self._content.denied.require(digest)
        self._require_references(name, manifest)
        self._content.put_small(digest, body)
        self._settle(digest, manifest)
        self._announce(name, digest, manifest)
        for _ in range(PUSH_TRIES):
            if self._record_and_tag(name, digest, body, manifest, tags):
                return Pushed(digest, manifest.subject.digest if manifest.subject else None)
        raise Unavailable(f"{digest} is being deleted at the same time")

    def delete(self, name: str, digest: Digest) -> None:
        """Delete a manifest and with it every tag that names it.

        Raises: ManifestUnknown, Full, Unavailable.

        Spec: end-9.
        """
        if not self._records.remove(layout.manifest_records(name, digest)):
            raise ManifestUnknown(detail={"digest": str(digest)})

    def _by_tag(self, name: str, tag: Tag, arrived: Arrived | None = None) -> StoredManifest:
        try:
            current = self._tags.resolve(name, tag, arrived)
        except ManifestUnknown:
            for digest in self._tags.newest(name, tag):
                self._content.denied.require(digest)
            raise
        stored = self._by_record(name, current.digest, current.record)
        return replace(stored, warning=NOT_ARRIVED) if current.stale else stored

    def _has_arrived(self, name: str, digest: Digest, record: str) -> bool:
        try:
            return self._is_here(name, self._by_record(name, digest, record))
        except ManifestUnknown:
            return False

    def _is_here(self, name: str, stored: StoredManifest) -> bool:
        """Whether its content has arrived."""
        return self._arrivals.is_here(name, stored, partial(self._member, name))

    def _member(self, name: str, digest: Digest) -> StoredManifest | None:
        try:
            return self._by_digest(name, digest)
        except (ManifestUnknown, Purged):
            return None

    def _by_digest(self, name: str, digest: Digest) -> StoredManifest:
        self._content.denied.require(digest)
        live = self._records.read(layout.manifest_records(name, digest)).live
        if not live:
            raise ManifestUnknown(detail={"digest": str(digest)})
        return self._by_record(name, digest, live[0])

    def _by_record(self, name: str, digest: Digest, record: str) -> StoredManifest:
        self._content.denied.require(digest)
        key = layout.manifest_records(name, digest) + record
        stored = self._memory.get(key)
        if stored is None:
            stored = self._load(key, digest)
            self._memory.keep(key, stored)
        return stored

    def _load(self, key: str, digest: Digest) -> StoredManifest:
        try:
            record = read_all(self._backend, key, MAX_RECORD_BYTES)
            data = self._content.read(digest, MAX_MANIFEST_BYTES)
        except NotFound as exc:
            raise ManifestUnknown(detail={"digest": str(digest)}) from exc
        pulled = field(record, "pulled") is True
        return StoredManifest(digest, type_of(record, digest, data), data, pulled=pulled)

    def _require_references(self, name: str, manifest: Manifest) -> None:
        needed = (*manifest.blobs, *manifest.children)
        stored = {
            digest: self._size(name, digest) for digest in dict.fromkeys(d.digest for d in needed)
        }
        missing = [str(digest) for digest, size in stored.items() if size is None]
        if missing:
            raise ManifestBlobUnknown(detail={"digests": missing})
        wrong = dict.fromkeys(d.digest for d in needed if stored[d.digest] != d.size)
        damaged = [str(digest) for digest in wrong if not self._is_whole(digest)]
        if damaged:
            raise ManifestBlobUnknown(detail={"digests": damaged})
        if wrong:
            detail = {"digests": [str(digest) for digest in wrong]}
            raise ManifestInvalid("a size is not that of the content", detail=detail)

    def _size(self, name: str, digest: Digest) -> int | None:
        """Size of what this repository has under a digest, as manifest or blob; None if nothing."""
        try:
            if self.has(name, digest):
                return self._content.size(digest)
            return self._blobs.size(name, digest)
        except (NotFound, BlobUnknown, Corrupt):
            return None

    def _is_whole(self, digest: Digest) -> bool:
        """Whether content of another size than a manifest says is what its digest says.

        A copy that lost its end is marked here, so that HEAD lets the client push it again.
        """
        try:
            self._content.verify(digest)
        except (NotFound, Corrupt):
            return False
        return True

    def _settle(self, digest: Digest, manifest: Manifest) -> None:
        """Let the push rest on content that it did not bring: what a failed one left is seen, too.

        Raises: Unavailable, Full.
        """
        for needed in (digest, *(d.digest for d in (*manifest.blobs, *manifest.children))):
            try:
                settle(self._backend, layout.blob(needed))
            except (NotFound, Corrupt) as exc:
                log.debug("%s is looked at again before the push ends: %s", needed, exc)

    def _announce(self, name: str, digest: Digest, manifest: Manifest) -> None:
        """Write all that is only a hint, or a lease, before the manifest itself can be seen."""
        for descriptor in manifest.blobs:
            self._blobs.record(name, descriptor.digest)
        put_once(self._backend, layout.catalog(name))
        if manifest.subject:
            put_once(self._backend, layout.referrer(name, manifest.subject.digest, digest))

    def _record_and_tag(
        self, name: str, digest: Digest, body: bytes, manifest: Manifest, tags: Sequence[Tag]
    ) -> bool:
        prefix, began = layout.manifest_records(name, digest), time.monotonic()
        data = json.dumps({"mediaType": manifest.media_type}).encode()
        named = self._named(name, tags, digest, data)
        record = named or self._records.add(prefix, data)
        # Looked at again: the collector may have taken what was unreferenced until now.
        self._content.put_small(digest, body)
        try:
            self._require_references(name, manifest)
        except ManifestBlobUnknown:
            if not named:  # another push counts on what a tag names
                self._records.retract(prefix, record)
            raise
        for tag in tags:
            self._tags.put(name, tag, digest, record)
        if time.monotonic() - began >= LEASE_SECONDS:
            raise Unavailable("this push slept for so long that what it rests on may be removed")
        return record in self._records.read(prefix).live

    def _named(self, name: str, tags: Sequence[Tag], digest: Digest, data: bytes) -> str | None:
        """The record by which one of the tags names the manifest, if a push may count on it."""
        for tag in tags:
            try:
                current = self._tags.resolve(name, tag)
            except ManifestUnknown:
                continue
            if current.digest == digest:
                prefix = layout.manifest_records(name, digest)
                counts = self._records.named(prefix, data, current.record)
                return current.record if counts else None
        return None
