"""Storages: maps from keys to byte strings that survive loss of power (contract: backends.base).

Standard library only, but for boto3 in backends.s3, loaded when a bucket is opened. A new storage
is a module, a line in `open_backend`, and a parameter of the contract suite.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from backends.base import Backend
from backends.check import CheckResult, check_storage
from backends.filesystem import Filesystem
from backends.guard import guarded, guarded_directory, within
from backends.helpers import put, read_all
from backends.identity import initialise, store_ids, unguarded
from backends.memory import Memory
from backends.s3.place import S3Options, parse_place

__all__ = [
    "Backend",
    "CheckResult",
    "Filesystem",
    "Memory",
    "S3Options",
    "check_storage",
    "guarded",
    "initialise",
    "open_backend",
    "put",
    "read_all",
    "store_ids",
    "unguarded",
    "within",
]


def open_backend(
    url: str,
    *,
    expected_id: str | None = None,
    reserve_bytes: int | None = None,
    s3: S3Options | None = None,
) -> Backend:
    """Return the backend that a URL names; nothing is touched before its first use.

        url             /path, file:///path, s3://BUCKET[/PREFIX] or memory:
        expected_id     the id this storage must have (backends.identity); None = any id, but one.
                        A memory: storage is new each time, so it has none to expect
        reserve_bytes   room that entries above 64 KiB leave; None = max(1 GiB, 2 %)
        s3              how an object store is asked; None = AWS, by its usual variables
    Raises: ValueError in words for the operator.
    """
    if url == "memory:":
        return Memory()
    if url.startswith("s3:"):
        place = parse_place(url, s3 or S3Options())
        from backends.s3.backend import open_s3  # only here: boto3 takes 30 MB

        return open_s3(place, expected_id)
    return guarded_directory(_path(url), expected_id, reserve_bytes, part=url)


def _path(url: str) -> str:
    if url.startswith("/"):
        return url
    parts = urlsplit(url)
    plain = parts.netloc in ("", "localhost") and not parts.query and not parts.fragment
    if parts.scheme != "file" or not plain or not parts.path.startswith("/"):
        raise ValueError(f"storage {url!r}: give /path, file:///path, s3://BUCKET or memory:")
    return unquote(parts.path)
