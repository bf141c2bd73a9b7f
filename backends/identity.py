"""Who a storage is: `_store/<id>` holds its format version, so that no other is taken for it.

Several ids are harmless (two first starts, a merge of two copies): the one that is remembered must
be *among* them. Where the id is remembered is the caller's matter.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator

from backends.base import Backend, Forms, Guarded
from backends.errors import Corrupt, NotFound, Unavailable
from backends.helpers import put, read_all

DIRECTORY = "_store"
FORMAT = 1
MARKER_BYTES = 4096
"""More than this is no identity file."""

_MARKER = json.dumps({"format": FORMAT}).encode() + b"\n"


def initialise(backend: Backend) -> str:
    """Return an id of the storage, and give it one first if it is entirely empty.

    Not for a storage whose id is remembered: found empty, it is not mounted.

    Raises: Unavailable (also: not empty and without an id, or of an unknown format), Full.
    """
    if isinstance(backend, Forms):
        return backend.form()
    raw = unguarded(backend)
    found = store_ids(raw)
    if found:
        return min(found)
    if not blank(raw):
        raise Unavailable(
            "the storage is not empty, but has no identity: it is not ours to initialise"
        )
    return mark(raw, str(uuid.uuid4()))


def mark(raw: Backend, store_id: str, data: bytes = _MARKER) -> str:
    """Give a storage an id, and return it. Raises: Full, Unavailable."""
    put(raw, f"{DIRECTORY}/{store_id}", data)
    return store_id


def store_ids(backend: Backend) -> set[str]:
    """Return the ids of a storage; empty if it was never initialised.

    Raises: Unavailable (also: an id of an unknown format).
    """
    return set(known_ids(_markers(unguarded(backend))))


def known_ids(markers: Iterable[tuple[str, bytes]]) -> Iterator[str]:
    """Yield the ids whose markers can be read; a damaged marker counts for nothing.

        markers   (id, contents of its file)
    Raises: Unavailable on a format that this version does not know.
    """
    for store_id, data in markers:
        version = _format(data)
        if version is None:
            continue
        if version != FORMAT:
            raise Unavailable(
                f"storage {store_id} has format {version!r}; this version knows {FORMAT} only"
            )
        yield store_id


def require(expected_id: str | None, found: set[str], where: str) -> str:
    """Return the id to go by: the expected one, or any. Raises: Unavailable in plain words."""
    if not found:
        raise Unavailable(f"{where}: the storage is not initialised or not mounted")
    if expected_id is None:
        return min(found)
    if expected_id not in found:
        raise Unavailable(
            f"{where}: another storage is mounted (expected {expected_id}, found {min(found)})"
        )
    return expected_id


def unguarded(backend: Backend) -> Backend:
    """Return the backend without its question for an identity; for initialise and check_storage."""
    return backend.unguarded() if isinstance(backend, Guarded) else backend


def blank(backend: Backend) -> bool:
    """Whether nothing is stored there. Raises: Unavailable."""
    if isinstance(backend, Guarded):
        return backend.blank()
    return next(iter(backend.keys("")), None) is None


def _markers(backend: Backend) -> Iterator[tuple[str, bytes]]:
    for key in backend.keys(f"{DIRECTORY}/"):
        try:
            yield key.removeprefix(f"{DIRECTORY}/"), read_all(backend, key, MARKER_BYTES)
        except (NotFound, Corrupt):
            continue  # gone again, or no marker: counts for nothing


def _format(data: bytes) -> object:
    """Return the format version, or None if the marker is damaged."""
    try:
        marker = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return marker.get("format") if isinstance(marker, dict) else None
