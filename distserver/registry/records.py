"""Observed-remove records: a stored set that needs no lock and that no replica can revive.

A record is an entry under a prefix, named by a nonce. It is live while there is no `<nonce>.gone`.
Removing writes `.gone` for every nonce that the remover sees; one that it does not see survives.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from backends import Backend, put
from backends.errors import Incomplete
from distserver.oci.digests import Digest
from distserver.registry.cache import ValidatedCache

GONE = ".gone"
CACHE_BYTES = 16 << 20
LEASE_SECONDS = 3600
"""A push counts on a record younger than this; an older one is renewed by a new one."""


@dataclass(frozen=True, slots=True)
class Records:
    """What a listing of one prefix showed.

    live  nonces without a removal
    gone  nonces with one
    """

    live: tuple[str, ...]
    gone: frozenset[str]


def new_nonce(first: str = "0123456789abcdef") -> str:
    """Return 16 hexadecimal digits that nobody else has; the first one is one of `first`."""
    return secrets.choice(first) + secrets.token_hex(8)[1:]


def sort(names: list[str]) -> Records:
    """Tell live names from removed ones."""
    gone = frozenset(name.removesuffix(GONE) for name in names if name.endswith(GONE))
    live = (name for name in names if not name.endswith(GONE) and name not in gone)
    return Records(tuple(live), gone)


class RecordStore:
    """The records of a storage, by prefix. A prefix ends in "/" and holds nothing else."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._cache: ValidatedCache[Records] = ValidatedCache(backend, CACHE_BYTES)

    def read(self, prefix: str, settle: bool = False) -> Records:
        """List the records under a prefix.

            settle  what is seen once is seen from then on (see Backend.keys). Without it a live
                    record is enough, where too few replicas of a storage answer
        Raises: Unavailable. Blocks on: a listing, or a stat.
        """

        def load() -> Records:
            names: list[str] = []
            try:
                for key in self._backend.keys(prefix, settle=settle):
                    names.append(key[len(prefix) :])
            except Incomplete:
                if settle or not sort(names).live:
                    raise
            return sort(names)

        return self._cache.get((prefix, settle), (prefix,), load)

    def read_tree(self, prefix: str, settle: bool = True) -> dict[Digest, Records]:
        """List all records of the directories <alg>/<hex>/ under a prefix. Raises: Unavailable."""
        names: dict[Digest, list[str]] = {}
        for key in self._backend.keys(prefix, settle=settle):
            algorithm, _, rest = key[len(prefix) :].partition("/")
            digits, _, record = rest.partition("/")
            names.setdefault(Digest(algorithm, digits), []).append(record)
        return {digest: sort(found) for digest, found in names.items()}

    def add(self, prefix: str, data: bytes = b"") -> str:
        """Write a new record and return its nonce. Raises: Full, Unavailable."""
        nonce = new_nonce()
        put(self._backend, prefix + nonce, data)
        return nonce

    def named(self, prefix: str, data: bytes, nonce: str) -> bool:
        """Whether a push may count on a record that a tag names: it is live, young, and says this.

        Whoever wrote one that no tag names may still retract it, and what removes untagged
        manifests may be about to remove an old one. Raises: Unavailable.
        """
        if nonce not in self.read(prefix, settle=True).live:
            return False
        entry = self._backend.stat(prefix + nonce)
        return entry.size == len(data) and 0 <= time.time() - entry.modified < LEASE_SECONDS

    def ensure(self, prefix: str, data: bytes = b"") -> str:
        """Return the nonce of a live record younger than LEASE_SECONDS, written now if none is.

        One of another size holds other data and does not count.

        A record that lies in the future (a clock went back) counts as old.
        Raises: Full, Unavailable.
        """
        now = time.time()
        # Settled: a push that failed may have left one where it can be lost.
        for nonce in self.read(prefix, settle=True).live:
            entry = self._backend.stat(prefix + nonce)
            if entry.size == len(data) and 0 <= now - entry.modified < LEASE_SECONDS:
                return nonce
        return self.add(prefix, data)

    def retract(self, prefix: str, nonce: str) -> None:
        """Remove one record. Raises: Full, Unavailable."""
        put(self._backend, prefix + nonce + GONE, b"")

    def remove(self, prefix: str) -> bool:
        """Remove every live record that a listing shows; return whether there was one.

        Raises: Full, Unavailable.
        """
        live = self.read(prefix).live
        for nonce in live:
            self.retract(prefix, nonce)
        return bool(live)
