"""Storages: maps from keys to byte strings that survive loss of power (contract: backends.base).

Standard library only. A new backend is a module, a line in `open_backend`, and a parameter of the
contract suite.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from backends.base import Backend
from backends.check import CheckResult, check_storage
from backends.filesystem import Filesystem
from backends.helpers import put, read_all, settle
from backends.identity import initialise, store_ids, unguarded
from backends.memory import Memory
from backends.replica import ReplicaSet

__all__ = [
    "Backend",
    "CheckResult",
    "Filesystem",
    "Memory",
    "ReplicaSet",
    "check_storage",
    "initialise",
    "open_backend",
    "put",
    "read_all",
    "settle",
    "store_ids",
    "unguarded",
]


def open_backend(
    url: str,
    *more: str,
    expected_id: str | None = None,
    reserve_bytes: int | None = None,
    degraded_ack: bool = False,
    damaged: Callable[[str], None] = lambda _: None,
) -> Backend:
    """Return the backend that a URL names; nothing is touched before its first use.

        url             /path, file:///path or memory:
        more            URLs of further replicas: all together are one storage then
        expected_id     the id this storage must have (backends.identity); None = any id, but one.
                        A memory: storage is new each time, so it has none to expect
        reserve_bytes   room that entries above 64 KiB leave; None = max(1 GiB, 2 %)
        degraded_ack    of two replicas, one is enough to acknowledge a write
        damaged         told of the URL of a replica, for each damaged copy that is found
    Raises: ValueError in words for the operator.
    """
    if not more:
        return _open_one(url, expected_id, reserve_bytes)
    if len({url, *more}) <= len(more):
        raise ValueError("a replica is named twice")
    openers = {each: _opener(each, reserve_bytes) for each in (url, *more)}
    return ReplicaSet(openers, expected_id=expected_id, degraded_ack=degraded_ack, damaged=damaged)


def _opener(url: str, reserve_bytes: int | None) -> Callable[[str | None], Backend]:
    """Check a URL now; return what opens it, given the id that must be found there."""
    _open_one(url, None, reserve_bytes)
    return lambda expected_id: _open_one(url, expected_id, reserve_bytes)


def _open_one(url: str, expected_id: str | None, reserve_bytes: int | None) -> Backend:
    if url == "memory:":
        return Memory()
    if url.startswith("s3:"):
        raise ValueError(f"storage {url!r}: s3:// is not supported yet")
    return Filesystem(_path(url), expected_id=expected_id, reserve_bytes=reserve_bytes)


def _path(url: str) -> str:
    if url.startswith("/"):
        return url
    parts = urlsplit(url)
    plain = parts.netloc in ("", "localhost") and not parts.query and not parts.fragment
    if parts.scheme != "file" or not plain or not parts.path.startswith("/"):
        raise ValueError(f"storage {url!r}: give /path, file:///path or memory:")
    return unquote(parts.path)
