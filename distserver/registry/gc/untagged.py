"""Manifests without a tag: kept for ever, unless the operator gave them a time."""

from __future__ import annotations

from collections.abc import Iterator

from backends import read_all
from backends.errors import NotFound
from distserver.oci.digests import Digest
from distserver.oci.manifests import Manifest
from distserver.registry import layout
from distserver.registry.catalog import upload_repositories
from distserver.registry.gc.census import Census
from distserver.registry.gc.mark import manifest_of, records_of
from distserver.registry.local import Registry
from distserver.registry.manifest_record import MAX_RECORD_BYTES, field
from distserver.registry.records import Records


def remove_untagged(registry: Registry, before: float) -> int:
    """Delete pushed manifests that no tag, index or subject keeps, recorded before then.

        before  by the storage's clock; at least some hours ago, so that no push rests on them
    Returns: how many. Raises: Doubtful, Unavailable, Full.
    """
    removed = 0
    for name in upload_repositories(registry.backend):
        live = {
            digest: records
            for digest, records in records_of(registry, name, Census())
            if records.live and not registry.content.denied.has(digest)
        }
        for digest in _unkept(registry, name, live):
            if _is_old(registry, name, digest, live[digest], before):
                for nonce in live[digest].live:  # no other: a push may write one just now
                    registry.records.retract(layout.manifest_records(name, digest), nonce)
                removed += 1
    return removed


def _unkept(registry: Registry, name: str, live: dict[Digest, Records]) -> Iterator[Digest]:
    tagged = set(registry.tags.all(name).values()) | set(registry.tags.waiting(name).values())
    if tagged >= live.keys():
        return
    manifests = {d: manifest_of(registry, name, d, r.live[0]) for d, r in live.items()}
    kept = _closure(tagged, manifests)
    yield from (digest for digest in manifests if digest not in kept)


def _closure(tagged: set[Digest], manifests: dict[Digest, Manifest]) -> set[Digest]:
    """All that tags keep: members of indexes, and what refers to a subject that is kept."""
    referrers: dict[Digest, list[Digest]] = {}
    for digest, manifest in manifests.items():
        if manifest.subject:
            referrers.setdefault(manifest.subject.digest, []).append(digest)
    kept, todo = set[Digest](), list(tagged)
    while todo:
        digest = todo.pop()
        if digest in kept or digest not in manifests:
            continue
        kept.add(digest)
        todo += [child.digest for child in manifests[digest].children]
        todo += referrers.get(digest, [])
    return kept


def _is_old(registry: Registry, name: str, digest: Digest, records: Records, before: float) -> bool:
    """Whether all its records were pushed, and before then."""
    prefix = layout.manifest_records(name, digest)
    try:
        return all(
            registry.backend.stat(prefix + nonce).modified < before
            and not field(read_all(registry.backend, prefix + nonce, MAX_RECORD_BYTES), "pulled")
            for nonce in records.live
        )
    except NotFound:
        return False
