"""Collectors for tests, in this process."""

from __future__ import annotations

from functools import partial

from backends.errors import StorageError
from distserver.evicting.evict import Collect
from distserver.oci.digests import Digest
from distserver.registry import Registry
from distserver.registry.gc import Limits, collect


def collector(registry: Registry) -> Collect:
    """Return what frees digests of a registry's storage."""
    return partial(collect, registry, Limits())


class Failing:
    """A collector that fails until it is told not to."""

    def __init__(self, registry: Registry) -> None:
        self.fails, self._collect = True, collector(registry)

    def __call__(self, only: frozenset[Digest]) -> None:
        if self.fails:
            raise StorageError("the collector fails")
        self._collect(only)
