"""Whether a server that says it is S3 does what a registry relies on.

Works below a name of its own that is no entry's, and removes what it wrote.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial

from backends.check import BrokenPromise, CheckResult, run_check
from backends.s3.client import Body, Client
from backends.s3.failures import Conflict
from backends.s3.listing import listed
from backends.s3.multipart import MIN_PART_BYTES, Multipart
from backends.s3.place import EXAMINED
from backends.s3.reader import DataReader

WRITES = 200
WRITES_SECONDS = 10.0


def examine(client: Client, other: Client) -> Iterator[CheckResult]:
    """Yield a result for each thing, the last one of the cleaning up. Writes about 8 MB.

    other  a second client of the same bucket
    """
    prefix = client.place.own(f"{EXAMINED}{uuid.uuid4()}/")
    checks: dict[str, Callable[[Client, Client, str], str]] = {
        "bytes of objects": _bytes,
        "listing after a write": _listing,
        "conditional writes": _conditional,
    }
    try:
        for name, check in checks.items():
            yield run_check(name, partial(check, client, other, prefix))
    finally:
        cleaned = run_check("clean up objects", partial(_clean, client, prefix))
    yield cleaned


def _bytes(client: Client, other: Client, prefix: str) -> str:
    """An upload in parts and one in a piece: some servers store checksums inside the object."""
    large, small = os.urandom(MIN_PART_BYTES + 1), os.urandom(4096)
    upload = Multipart(client, f"{prefix}large")
    upload.add(Body(large[:MIN_PART_BYTES]))
    upload.add(Body(large[MIN_PART_BYTES:]))
    upload.complete()
    client.call("put_object", Body(small), Key=f"{prefix}small")
    for name, data in (("large", large), ("small", small)):
        with DataReader(other, prefix + name, len(data), 0, len(data)) as reader:
            if hashlib.sha256(reader.read()).digest() != hashlib.sha256(data).digest():
                raise BrokenPromise(f"{len(data)} bytes came back changed")
    return "what was written comes back, in one piece and in parts"


def _listing(client: Client, other: Client, prefix: str) -> str:
    end, before = time.monotonic() + WRITES_SECONDS, ""
    for number in range(WRITES):
        name = f"{prefix}{number:03}"
        client.put(name, b"x")
        if [one.name for one in listed(other, f"{prefix}{number:03}", before)] != [name]:
            raise BrokenPromise(f"write {number + 1} is not in the listing that follows it")
        before = name
        if time.monotonic() > end:
            break
    return f"{number + 1} writes, each in the next listing through another connection"


def _conditional(client: Client, other: Client, prefix: str) -> str:
    """Nothing that we do today needs it, so it is told only."""
    put = partial(client.call, "put_object", Key=f"{prefix}once", IfNoneMatch="*")
    put(Body(b"first"))
    try:
        put(Body(b"second"))
    except Conflict:
        return "available"
    return "not available: pushes and pulls do without"


def _clean(client: Client, prefix: str) -> str:
    names = [one.name for one in listed(client, prefix)]
    for name in names:
        client.call("delete_object", Key=name)
    if next(listed(client, prefix), None) is not None:
        raise BrokenPromise("deleted objects are still listed")
    return f"{len(names)} objects removed"
