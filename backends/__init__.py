"""Storages: maps from keys to byte strings that survive loss of power (contract: backends.base).

Standard library only, but for boto3 in backends.s3, loaded when a bucket is opened. A new storage
is a module, a line in `open_backend`, and a parameter of the contract suite.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from urllib.parse import unquote, urlsplit

from backends.base import Backend
from backends.check import CheckResult, check_storage
from backends.filesystem import Filesystem
from backends.guard import Board, guarded, guarded_directory, within
from backends.helpers import (
    erase,
    exists,
    keys_beginning,
    put,
    put_once,
    read_all,
    restore,
    settle,
    space_of,
)
from backends.identity import initialise, store_ids, unguarded
from backends.memory import Memory
from backends.replica import ReplicaSet
from backends.s3.place import S3Options, parse_place

__all__ = [
    "Backend",
    "CheckResult",
    "Filesystem",
    "Memory",
    "ReplicaSet",
    "S3Options",
    "check_storage",
    "erase",
    "exists",
    "guarded",
    "initialise",
    "keys_beginning",
    "open_backend",
    "put",
    "put_once",
    "read_all",
    "restore",
    "settle",
    "space_of",
    "store_ids",
    "unguarded",
    "within",
]


def open_backend(
    url: str,
    *more: str,
    expected_id: str | None = None,
    reserve_bytes: int | None = None,
    s3: S3Options | None = None,
    degraded_ack: bool = False,
    damaged: Callable[[str], None] = lambda _: None,
) -> Backend:
    """Return the backend that a URL names; nothing is touched before its first use.

        url             /path, file:///path, s3://BUCKET[/PREFIX] or memory:
        more            URLs of further replicas: all together are one storage then
        expected_id     the id this storage must have (backends.identity); None = any id, but one.
                        A memory: storage is new each time, so it has none to expect
        reserve_bytes   room that entries above 64 KiB leave; None = max(1 GiB, 2 %)
        s3              how an object store is asked; None = AWS, by its usual variables
        degraded_ack    of two replicas, one is enough to acknowledge a write
        damaged         told of the URL of a replica, for each damaged copy that is found
    Raises: ValueError in words for the operator.
    """
    one = partial(_open_one, reserve_bytes=reserve_bytes, s3=s3 or S3Options())
    if not more:
        return one(url, expected_id)
    if len({url, *more}) <= len(more):
        raise ValueError("a replica is named twice")
    openers = {each: _opener(one, each) for each in (url, *more)}
    return ReplicaSet(openers, expected_id=expected_id, degraded_ack=degraded_ack, damaged=damaged)


def _opener(one: Callable[..., Backend], url: str) -> Callable[[str | None], Backend]:
    """Return what opens a replica, given the id that must be found there."""
    # It is opened anew when its id is known, by each process: one of them probes for all.
    return partial(one, url, board=Board())


def _open_one(
    url: str,
    expected_id: str | None,
    *,
    reserve_bytes: int | None,
    s3: S3Options,
    board: Board | None = None,
) -> Backend:
    if url == "memory:":
        return Memory()
    if url.startswith("s3:"):
        place = parse_place(url, s3)
        from backends.s3.backend import open_s3  # only here: boto3 takes 30 MB

        return open_s3(place, expected_id)
    return guarded_directory(_path(url), expected_id, reserve_bytes, url, board)


def _path(url: str) -> str:
    if url.startswith("/"):
        return url
    parts = urlsplit(url)
    plain = parts.netloc in ("", "localhost") and not parts.query and not parts.fragment
    if parts.scheme != "file" or not plain or not parts.path.startswith("/"):
        raise ValueError(f"storage {url!r}: give /path, file:///path, s3://BUCKET or memory:")
    return unquote(parts.path)
