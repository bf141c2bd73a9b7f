"""What is needed: every live manifest, and all content that it names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from backends import read_all
from backends.errors import Corrupt, NotFound, StorageError
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestInvalid
from distserver.oci.manifests import MAX_MANIFEST_BYTES, Manifest, parse_manifest
from distserver.registry import layout
from distserver.registry.catalog import upload_repositories
from distserver.registry.gc.census import Census
from distserver.registry.local import Registry
from distserver.registry.manifest_record import MAX_RECORD_BYTES, type_of
from distserver.registry.records import Records


class Doubtful(StorageError):
    """What the storage says does not fit together: nothing may be taken away on its word."""


@dataclass(slots=True)
class Mark:
    """What one look at all repositories showed.

    needed     raw digests of all content that something live names
    read       the manifests among them, whose references are in `needed`
    census     every manifest record, live or removed
    """

    needed: set[bytes] = field(default_factory=set)
    read: set[bytes] = field(default_factory=set)
    census: Census = field(default_factory=Census)

    def needs(self, digest: Digest) -> bool:
        """Whether something live names it."""
        return raw(digest) in self.needed


def raw(digest: Digest) -> bytes:
    """A digest in as few bytes as it has; the two algorithms differ in length."""
    return bytes.fromhex(digest.hex)


def mark(registry: Registry, before: Mark | None = None, node: str = "") -> Mark:
    """Look at every manifest of every repository.

    before  an earlier mark of the same run: what it read is not read again, and counts as needed
    node    whose census counts, see census.key_of
    Raises: Doubtful (a manifest cannot be read, or some that were there are not listed),
    Unavailable.
    Memory: about 100 bytes a content. Blocks on: listing all records, reading each manifest once.
    """
    found = Mark(set(before.needed), set(before.read)) if before else Mark()
    for name in upload_repositories(registry.backend):
        for digest, records in records_of(registry, name, found.census):
            if records.live:
                _add(registry, name, digest, records.live[0], found)
    earlier = before.census if before else Census.load(registry.backend, node)
    lost = earlier.missing_in(found.census)
    if lost:
        raise Doubtful(
            f"{lost} of the manifests that were there are not listed, and nobody removed them"
        )
    return found


def records_of(registry: Registry, name: str, census: Census) -> Iterator[tuple[Digest, Records]]:
    """Yield each manifest of a repository with its records. Raises: Unavailable."""
    prefix = layout.manifests(name)
    for digest, records in registry.records.read_tree(prefix, settle=False).items():
        for nonce in {*records.live, *records.gone}:
            census.add(layout.manifest_records(name, digest) + nonce)
        yield digest, records


def manifest_of(registry: Registry, name: str, digest: Digest, record: str) -> Manifest:
    """Read a manifest past the memory of the server, which is for pulls.

    Raises: Doubtful, Unavailable.
    """
    try:
        data = registry.content.read(digest, MAX_MANIFEST_BYTES)
        try:
            return parse_manifest(data, None)
        except ManifestInvalid:  # some do not say their type; their record does
            key = layout.manifest_records(name, digest) + record
            told = type_of(read_all(registry.backend, key, MAX_RECORD_BYTES), digest, data)
            return parse_manifest(data, told)
    except (NotFound, Corrupt, ManifestInvalid) as exc:
        raise Doubtful(
            f"{name}@{digest} cannot be read ({exc}): mend it (distserver verify --repair), push it"
            " again, or delete it"
        ) from exc


def _add(registry: Registry, name: str, digest: Digest, record: str, found: Mark) -> None:
    own = raw(digest)
    if own in found.read or registry.content.denied.has(digest):
        return
    manifest = manifest_of(registry, name, digest, record)
    found.read.add(own)
    found.needed.add(own)
    found.needed.update(raw(descriptor.digest) for descriptor in manifest.references)
