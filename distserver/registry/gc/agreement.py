"""A folder that every node has a copy of (Syncthing): nothing is purged before all have looked.

    gc/nodes/<node>         that node takes part
    gc/<run>/moved          what the run took, a digest a line
    gc/<run>/seen-<node>    that node has all of it in its trash, has looked at its own manifests
                            since, and has brought back what they need

A deletion arrives at a node whenever it likes, perhaps after a push that counts on what was
deleted. The bytes are in the trash, which arrives as well, so the node brings them back. Only when
all nodes have said so of a run does its trash go. Each file is written by one node, so there is
nothing to conflict.
"""

from __future__ import annotations

from dataclasses import dataclass

from backends import Backend, exists, put_once, read_all
from backends.errors import Corrupt, NotFound
from distserver.oci.digests import Digest
from distserver.oci.errors import DigestInvalid
from distserver.registry import layout
from distserver.registry.gc.mark import Doubtful, mark
from distserver.registry.gc.runs import MOVED
from distserver.registry.local import Registry
from distserver.registry.trash import Trash

NODES = f"{layout.GC}nodes/"
SEEN = "seen-"
MAX_TAKEN_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Cluster:
    """The nodes of a folder.

    node   what this one is called
    count  how many there are: so many have to agree
    """

    node: str
    count: int


class Agreement:
    """What the nodes say, as far as it has arrived here."""

    def __init__(self, backend: Backend, cluster: Cluster) -> None:
        self._backend, self._node, self._count = backend, cluster.node, cluster.count
        self._trash = Trash(backend)

    def join(self) -> None:
        """Say that this node takes part. Raises: Full, Unavailable."""
        put_once(self._backend, NODES + self._node)

    def require_all(self) -> None:
        """Go on only if all nodes take part, this one too. Raises: Doubtful, Full, Unavailable."""
        self.join()
        known = sum(1 for _ in self._backend.keys(NODES))
        if known < self._count:
            raise Doubtful(f"{known} of {self._count} nodes have said that they take part")

    def pending(self) -> dict[str, list[Digest]]:
        """Runs that this node has not agreed to, and all of whose entries have arrived here.

        Raises: Unavailable.
        """
        keys = (key for key in self._backend.keys(layout.GC) if key.endswith(f"/{MOVED}"))
        runs = [key.split("/")[1] for key in keys]
        wanted = {run: self._taken(run) for run in runs if not self._has_said(run)}
        return {run: taken for run, taken in wanted.items() if taken and self._is_here(run, taken)}

    def say(self, run: str) -> None:
        """Agree to a run. Raises: Full, Unavailable."""
        put_once(self._backend, f"{layout.GC}{run}/{SEEN}{self._node}")

    def is_reached(self, run: str) -> bool:
        """Whether all nodes agree to a run. Raises: Unavailable."""
        prefix = f"{layout.GC}{run}/"
        said = sum(key.startswith(prefix + SEEN) for key in self._backend.keys(prefix))
        return said >= self._count

    def _has_said(self, run: str) -> bool:
        return exists(self._backend, f"{layout.GC}{run}/{SEEN}{self._node}")

    def _taken(self, run: str) -> list[Digest]:
        """What a run took; nothing of one that is not through, or has not arrived whole."""
        try:
            data = read_all(self._backend, f"{layout.GC}{run}/{MOVED}", MAX_TAKEN_BYTES)
            return [Digest.parse(line) for line in data.decode("ascii").split()]
        except (NotFound, Corrupt, DigestInvalid, UnicodeDecodeError):
            return []

    def _is_here(self, run: str, taken: list[Digest]) -> bool:
        return all(any(one.run == run for one in self._trash.of(digest)) for digest in taken)


def agree(registry: Registry, node: str) -> int:
    """Look at what other nodes took, bring back what this one needs; return of how many runs.

    Raises: as mark; Full.
    """
    agreement, trash = Agreement(registry.backend, Cluster(node, 1)), Trash(registry.backend)
    agreement.join()
    pending = agreement.pending()
    found = mark(registry, node=node) if pending else None
    for run, taken in pending.items():
        for digest in taken:
            if found and found.needs(digest):
                trash.put_back(digest)
        agreement.say(run)
    return len(pending)
