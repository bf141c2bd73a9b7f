"""Which images are, or have, given content. Reads all manifests: a question of operators."""

from __future__ import annotations

from collections.abc import Iterator

from backends.errors import Corrupt, NotFound
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestInvalid, ManifestUnknown, Purged
from distserver.oci.manifests import parse_manifest
from distserver.registry import layout
from distserver.registry.catalog import upload_repositories
from distserver.registry.local import Registry


def images_with(registry: Registry, digests: frozenset[Digest]) -> Iterator[str]:
    """Yield NAME:TAG or NAME@DIGEST of each image, and NAME where only a blob may be read.

    Raises: Unavailable. Blocks on: reading each manifest.
    """
    for name in upload_repositories(registry.backend):
        touched = _touched(registry, name, digests)
        tags = registry.tags.all(name) if touched else {}
        yield from (f"{name}:{tag}" for tag, digest in sorted(tags.items()) if digest in touched)
        yield from (f"{name}@{digest}" for digest in sorted(touched - set(tags.values())))
        if not touched and any(_may_read(registry, name, digest) for digest in digests):
            yield name


def _touched(registry: Registry, name: str, digests: frozenset[Digest]) -> set[Digest]:
    """The manifests of a repository that are, or have, one of the digests."""
    parts = {digest: _parts(registry, name, digest) for digest in registry.manifests.digests(name)}
    touched = parts.keys() & digests
    reached = digests
    while more := {d for d, named in parts.items() if d not in touched and named & reached}:
        touched |= more
        reached = frozenset(more)
    return touched


def _parts(registry: Registry, name: str, digest: Digest) -> frozenset[Digest]:
    """What a manifest names; nothing of one that cannot be read."""
    try:
        stored = registry.manifests.held(name, digest)
        manifest = parse_manifest(stored.data, stored.media_type)
    except (ManifestUnknown, ManifestInvalid, Purged, Corrupt, NotFound):
        return frozenset()
    return frozenset(part.digest for part in (*manifest.blobs, *manifest.children))


def _may_read(registry: Registry, name: str, digest: Digest) -> bool:
    return bool(registry.records.read(layout.blob_records(name, digest)).live)
