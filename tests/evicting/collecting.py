"""A simple collector for tests: deletes those of some digests that nothing names any more."""

from __future__ import annotations

from backends.errors import StorageError
from distserver.evicting.evict import Collect
from distserver.oci.digests import Digest
from distserver.oci.manifests import parse_manifest
from distserver.registry import Registry, layout


def collector(registry: Registry) -> Collect:
    """Return what frees digests of a registry's storage."""

    def collect(only: frozenset[Digest]) -> None:
        for digest in only - named(registry):
            registry.backend.delete(layout.blob(digest))
            registry.backend.delete(layout.chunks(digest))

    return collect


def named(registry: Registry) -> set[Digest]:
    """All that a live manifest is, or names. Raises: StorageError."""
    found: set[Digest] = set()
    for name in registry.catalog.names():
        for digest in registry.manifests.digests(name):
            stored = registry.manifests.held(name, digest)
            manifest = parse_manifest(stored.data, stored.media_type)
            found |= {digest, *(each.digest for each in manifest.references)}
    return found


class Failing:
    """A collector that fails until it is told not to."""

    def __init__(self, registry: Registry) -> None:
        self.fails, self._collect = True, collector(registry)

    def __call__(self, only: frozenset[Digest]) -> None:
        if self.fails:
            raise StorageError("the collector fails")
        self._collect(only)
