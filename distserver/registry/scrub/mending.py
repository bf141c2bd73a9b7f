"""Makes damaged or missing content good again, from wherever good bytes are.

Other replicas come first, then what the caller names (upstreams). What none of them has waits for a
push, or for `distserver repair --from`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from distserver.oci.digests import Digest
from distserver.registry import layout, verify
from distserver.registry.local import Registry

log = logging.getLogger(__name__)

LOOKUP_BYTES = 16 << 10
"""A question to the storage counts as reading so many bytes: it may be a disk's seek."""


@dataclass(frozen=True, slots=True)
class Need:
    """Content to be mended, and the repositories that have it."""

    digest: Digest
    names: tuple[str, ...]


Source = Callable[[Need], str]
"""Brings good bytes into the storage; returns where from, "" if it has none now."""


class Mender:
    """Mends content of a registry.

    registry  what is stored, asking nobody else
    sources   where good bytes may come from, in this order
    passing   told of the bytes that are read
    """

    def __init__(
        self,
        registry: Registry,
        sources: Sequence[Source] = (),
        passing: verify.Passing = lambda _: None,
    ) -> None:
        self._registry, self._sources, self._passing = registry, sources, passing

    def needs(self, digests: Iterable[Digest]) -> Iterator[Need]:
        """Yield what of these repositories have a live record of: nobody needs the others.

        What was purged is not among them: it must not come back. Raises: Unavailable.
        """
        wanted = sorted(digests)
        owners: dict[Digest, list[str]] = {digest: [] for digest in wanted}
        for name in verify.repositories(self._registry) if wanted else ():
            for digest in wanted:
                if self._is_of(name, digest):
                    owners[digest].append(name)
        for digest, names in owners.items():
            if names and not self._registry.content.denied.has(digest):
                yield Need(digest, tuple(names))

    def mend(self, need: Need) -> str:
        """Return where good bytes came from; "" if nobody has them now. Raises: Unavailable."""
        if verify.is_good(self._registry, need.digest, self._passing):
            self._registry.content.proved(need.digest)
            return "here: it reads well again"
        for source in self._sources:
            if where := source(need):
                log.warning("%s is mended: %s", need.digest, where)
                return where
        return ""

    def _is_of(self, name: str, digest: Digest) -> bool:
        records = self._registry.records
        self._passing(LOOKUP_BYTES)
        blob = records.read(layout.blob_records(name, digest)).live
        return bool(blob) or self._registry.manifests.has(name, digest)
