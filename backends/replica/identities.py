"""The identity files at a place, read and written, whether what lies there is a member or not."""

from __future__ import annotations

from collections.abc import Iterator

from backends.base import Backend
from backends.errors import Corrupt, NotFound
from backends.helpers import read_all
from backends.identity import MARKER_BYTES, known_ids, mark
from backends.replica.content import PRIVATE
from backends.replica.marker import Marker, parse


def markers(backend: Backend) -> list[Marker]:
    """Return what members of sets say of themselves there; none for other storages.

    Raises: Unavailable.
    """
    return [marker for marker in (parse(*pair) for pair in _files(backend)) if marker]


def ids(backend: Backend) -> set[str]:
    """Return all ids of a storage. Raises: Unavailable."""
    return set(known_ids(_files(backend)))


def enter(backend: Backend, marker: Marker) -> None:
    """Make a storage the member that a marker tells of. Raises: Full, Unavailable."""
    mark(backend, marker.member, marker.data)
    mark(backend, marker.set_id)


def _files(backend: Backend) -> Iterator[tuple[str, bytes]]:
    for key in backend.keys(PRIVATE):
        try:
            yield key.removeprefix(PRIVATE), read_all(backend, key, MARKER_BYTES)
        except (NotFound, Corrupt):
            continue  # gone again, or no identity: counts for nothing
