"""The trash: content that the collector took out of its place, and that anybody may bring back.

Readers and writers look here before they say that content is absent, so a wrong step of the
collector costs one more look, not an outage. Restoring leaves the trash entry where it is: only the
collector removes it, by its exact name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from backends import Backend, exists, keys_beginning, restore
from backends.base import Moves
from backends.errors import NotFound
from distserver.oci.digests import Digest
from distserver.oci.errors import DigestInvalid
from distserver.registry import layout


@dataclass(frozen=True, slots=True)
class Trashed:
    """An entry of the trash: of what content, and which run put it there."""

    key: str
    digest: Digest
    run: str


class Trash:
    """The entries under trash/."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def condemn(self, digest: Digest, run: str) -> bool:
        """Take content out of its place; False if it is not there. Raises: Full, Unavailable.

        In one step where the storage can move. Else two names exist for a moment: then nobody may
        purge this one before the run has said that it is through (gc.runs).
        """
        source, target = layout.blob(digest), layout.trash(digest, run)
        try:
            if isinstance(self._backend, Moves):
                self._backend.move(source, target)
            else:
                self._backend.link(source, target)
                self._backend.delete(source)
        except NotFound:
            return False
        return True

    def restore(self, digest: Digest) -> bool:
        """Bring content back if it is here. Raises: Full, Unavailable."""
        return any(self._restored(entry) for entry in self.of(digest))

    def put_back(self, digest: Digest) -> bool:
        """Whether content is in its place; else it is brought back. Raises: Full, Unavailable."""
        if exists(self._backend, layout.blob(digest)):
            return True
        self.restore(digest)
        return False

    def of(self, digest: Digest) -> Iterator[Trashed]:
        """Yield the entries of one content. Raises: Unavailable. Blocks on: one listing."""
        return filter(None, map(_parse, keys_beginning(self._backend, layout.trash(digest))))

    def all(self) -> Iterator[Trashed]:
        """Yield all entries; what others keep here is left out. Raises: Unavailable."""
        return filter(None, map(_parse, self._backend.keys(layout.TRASH)))

    def _restored(self, entry: Trashed) -> bool:
        try:
            restore(self._backend, entry.key, layout.blob(entry.digest))
        except NotFound:  # purged in this moment
            return False
        return True


def _parse(key: str) -> Trashed | None:
    _, algorithm, *_ = key.split("/")
    digits, _, run = key.rpartition("/")[2].partition("-")
    try:
        digest = Digest.parse(f"{algorithm}:{digits}")
    except DigestInvalid:
        return None
    return Trashed(key, digest, run) if run and key == layout.trash(digest, run) else None
