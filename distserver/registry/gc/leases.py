"""Records of blobs: young ones keep what no manifest names yet, old ones of lost content go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from backends.errors import NotFound
from distserver.oci.digests import Digest
from distserver.registry import layout
from distserver.registry.catalog import upload_repositories
from distserver.registry.local import Registry
from distserver.registry.records import LEASE_SECONDS, sort

PRUNE_SECONDS = 2.0 * LEASE_SECONDS
"""A push rests on no record older than LEASE_SECONDS, and is refused after as long again."""

Wanted = Callable[[Digest], bool]


def leased(registry: Registry, wanted: Wanted, since: float) -> Iterator[Digest]:
    """Yield the wanted contents that a repository has a live record of, written since then.

        since  by the storage's clock
    Raises: Unavailable. Blocks on: listing all blob records.
    """
    for digest, prefix, names in _records(registry, wanted):
        if any(_time(registry, prefix + nonce) >= since for nonce in sort(names).live):
            yield digest


def prune(registry: Registry, wanted: Wanted, before: float) -> int:
    """Remove the records of content that is nowhere, written before then; return how many.

    Raises: Unavailable. Blocks on: listing all blob records.
    """
    removed = 0
    for _, prefix, names in _records(registry, wanted):
        if all(_time(registry, prefix + name) < before for name in names):
            for name in names:  # a record first, then what says that it is gone
                registry.backend.delete(prefix + name)
            removed += len(names)
    return removed


def _records(registry: Registry, wanted: Wanted) -> Iterator[tuple[Digest, str, list[str]]]:
    """Yield each wanted content of each repository: prefix and names of its records, ascending."""
    for name in upload_repositories(registry.backend):
        keys = registry.backend.keys(layout.all_blob_records(name))
        for prefix, group in groupby(keys, key=lambda key: key.rpartition("/")[0] + "/"):
            algorithm, _, digits = prefix[:-1].rpartition("/_blobs/")[2].partition("/")
            digest = Digest(algorithm, digits)
            if wanted(digest):
                yield digest, prefix, [key[len(prefix) :] for key in group]


def _time(registry: Registry, key: str) -> float:
    """When a record was written; one that has just gone belongs to somebody at work."""
    try:
        return registry.backend.stat(key).modified
    except NotFound:
        return float("inf")
