"""Erases purged content from a storage: now, and whenever a copy of it comes back.

A member of a set that was away, Syncthing or a restored backup may bring bytes back under their
digest. Nobody is served them (denied); they go with the next sweep.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from backends import Backend, erase, exists, keys_beginning
from distserver.oci.digests import Digest
from distserver.registry import layout
from distserver.registry.catalog import upload_repositories
from distserver.registry.denied import DenyList
from distserver.registry.records import RecordStore

log = logging.getLogger(__name__)
LOOKS = 3


def erase_content(backend: Backend, digest: Digest) -> None:
    """Erase the bytes of a digest, their chunk hashes and all copies in the trash.

    Also what is not seen: a member of a set that is away is left a hint so. Looks again, since a
    collector may have moved it meanwhile; what still escapes goes with the next sweep.
    Raises: Unavailable; the rest is there then.
    """
    found = {layout.blob(digest), layout.chunks(digest), *copies(backend, digest)}
    for _ in range(LOOKS):
        for key in found:
            erase(backend, key)
        if not (found := set(copies(backend, digest))):
            return


def copies(backend: Backend, digest: Digest) -> Iterator[str]:
    """Yield the keys under which content, or what is left of it, is stored. Raises: Unavailable."""
    places = (layout.blob(digest), layout.chunks(digest))
    yield from (key for key in places if exists(backend, key))
    for start in layout.in_trash(digest):
        yield from keys_beginning(backend, start)


def remove_records(backend: Backend, records: RecordStore, digests: Iterable[Digest]) -> None:
    """Take purged manifests from all repositories, so that nothing counts on their bytes.

    Raises: Full, Unavailable. Blocks on: a listing a digest in each repository.
    """
    wanted = list(digests)
    for name in upload_repositories(backend):
        for digest in wanted:
            records.remove(layout.manifest_records(name, digest))


def sweep(backend: Backend, denied: DenyList) -> int:
    """Erase what came back of purged content; return of how many digests. Raises: Unavailable."""
    removed = 0
    for digest in denied.all():
        if next(copies(backend, digest), None):
            log.warning("%s was purged and came back: it is erased again", digest)
            erase_content(backend, digest)
            removed += 1
    return removed
