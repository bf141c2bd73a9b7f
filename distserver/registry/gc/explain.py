"""Why content is kept, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from backends.errors import NotFound
from distserver.oci.digests import Digest
from distserver.oci.names import Tag
from distserver.registry import layout
from distserver.registry.catalog import upload_repositories
from distserver.registry.gc.census import Census
from distserver.registry.gc.collector import Limits
from distserver.registry.gc.leases import leased
from distserver.registry.gc.mark import manifest_of, records_of
from distserver.registry.local import Registry
from distserver.registry.trash import Trash


def explain(registry: Registry, digest: Digest, limits: Limits, now: float) -> Iterator[str]:
    """Yield a line for each reason that content has to stay, and for where it is.

    now  by the storage's clock
    Raises: Doubtful, Unavailable. Blocks on: reading every manifest.
    """
    try:
        entry = registry.backend.stat(layout.blob(digest))
    except NotFound:
        yield "it is not stored"
    else:
        yield f"it is stored: {entry.size} bytes"
        if now - entry.modified < limits.grace_seconds:
            yield f"it was written {now - entry.modified:.0f} s ago, within the time of grace"
    for trashed in Trash(registry.backend).of(digest):
        yield f"it is in the trash, by run {trashed.run}: it comes back when somebody asks for it"
    for name in upload_repositories(registry.backend):
        yield from _in_repository(registry, name, digest)
    if any(leased(registry, lambda one: one == digest, now - limits.grace_seconds)):
        yield "a repository got it, or renewed its right to it, within the time of grace"


def _in_repository(registry: Registry, name: str, digest: Digest) -> Iterator[str]:
    tags = registry.tags.all(name)
    for manifest, records in records_of(registry, name, Census()):
        if not records.live or registry.content.denied.has(manifest):
            continue
        if manifest == digest:
            yield f"it is the manifest {_shown(name, manifest, tags)}"
        parsed = manifest_of(registry, name, manifest, records.live[0])
        if digest in {descriptor.digest for descriptor in parsed.references}:
            yield f"{_shown(name, manifest, tags)} names it"


def _shown(name: str, manifest: Digest, tags: Mapping[Tag, Digest]) -> str:
    """A manifest, and the tags that name it."""
    tagged = ", ".join(sorted(tag for tag, named in tags.items() if named == manifest))
    return f"{name}@{manifest}" + (f" ({tagged})" if tagged else "")
