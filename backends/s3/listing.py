"""Listings of a bucket, page by page.

AWS and most others list by the bytes of the whole name. A server that keeps objects in directories
(SeaweedFS) lists `a/x` before `a-b/x`; there keys come from a walk, with a request a directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from backends.errors import Unavailable
from backends.keys import is_directory, is_key
from backends.s3.client import Client

_PROBES = ("order/a-b/x", "order/a/x")


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing tells it.

    age  seconds since it was written, see age_of()
    """

    name: str
    size: int
    etag: str
    age: float


def listed(client: Client, prefix: str, after: str = "") -> Iterator[Listed]:
    """Yield every object whose name begins so, lazily, in the server's order.

        after  exclusive lower bound in that order
    Raises: Unavailable, in mid-listing too: what ended without it is complete.
    """
    for answer in _pages(client, Prefix=prefix, **({"StartAfter": after} if after else {})):
        for one in answer.get("Contents", []):
            yield Listed(one["Key"], one["Size"], one["ETag"], age_of(answer, one["LastModified"]))


def listed_entries(client: Client, prefix: str = "", after: str = "") -> Iterator[Listed]:
    """Yield the objects below a prefix of keys, without ours that are no entries: often a million.

        after  name of an object, exclusive lower bound
    Raises: Unavailable, InvalidKey.
    """
    place = client.place
    for one in listed(client, place.entries(prefix), after):
        if not place.is_own(one.name):
            yield one
        elif one.name < place.behind_own:
            yield from listed_entries(client, prefix, place.behind_own)
            return


def names_below(client: Client, prefix: str) -> list[str]:
    """Return the sorted names directly below a prefix of keys, for backends.walk.

    Raises: Unavailable.
    """
    start, found = client.place.entries(prefix), []
    for answer in _pages(client, Prefix=start, Delimiter="/"):
        names = [one["Key"] for one in answer.get("Contents", [])]
        found += [name.removeprefix(start) for name in names if is_key(prefix + name[len(start) :])]
        below = [one["Prefix"] for one in answer.get("CommonPrefixes", [])]
        found += [
            name[len(start) :] for name in below if is_directory(prefix + name[len(start) : -1])
        ]
    return sorted(found)


def lists_by_bytes(client: Client) -> bool:
    """Whether this server lists in the order of the bytes of names: seen on two objects of ours.

    Raises: Unavailable.
    """
    probes = [client.place.own(name) for name in _PROBES]
    for _ in range(2):
        seen = [one.name for one in listed(client, client.place.own("order/"))]
        if sorted(seen) == probes:
            return seen == probes
        for name in probes:
            client.put(name, b"")
    raise Unavailable(f"{client.place}: what was written is not listed")


def age_of(answer: dict[str, Any], then: datetime) -> float:
    """Return the seconds since then, by the server's clock when it answered, not by ours.

    Minus infinity if it does not tell the time: nothing is old there.
    """
    try:
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"].get("date", ""))
    except ValueError:
        return float("-inf")
    return (now - then).total_seconds()


def _pages(client: Client, **asked: Any) -> Iterator[dict[str, Any]]:
    """Yield the answers of one listing, 1,000 names each. Raises: Unavailable."""
    more = True
    while more:
        answer = client.call("list_objects_v2", **asked)
        yield answer
        more, token = answer.get("IsTruncated", False), answer.get("NextContinuationToken")
        if more and (not token or token == asked.get("ContinuationToken")):
            raise Unavailable(f"{client.place}: a listing has more, but does not give it")
        asked["ContinuationToken"] = token
