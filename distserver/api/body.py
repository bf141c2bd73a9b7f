"""Request bodies: counted, and given up when they stall or creep."""

from __future__ import annotations

import time
from collections.abc import Iterator

from flask import request
from gunicorn.http.errors import ParseException

from distserver.oci.errors import ManifestTooLarge, SizeInvalid, TooSlow

READ_BYTES = 1 << 20
MIN_BYTES_PER_SECOND = 10 << 10
SLOW_AFTER_SECONDS = 30.0


def has_body() -> bool:
    """Whether the request announces a body (it may still be empty when chunked)."""
    return bool(request.content_length) or "Transfer-Encoding" in request.headers


def read_body() -> Iterator[bytes]:
    """Yield the request's body in pieces of at most 1 MiB.

    Raises: SizeInvalid when it ends before its Content-Length (gunicorn returns the short data in
    silence), TooSlow when nothing comes for the socket's timeout or less than 10 KiB/s after 30 s.
    """
    stream = request.environ["wsgi.input"]
    expected, seen, started = request.content_length, 0, time.monotonic()
    while expected is None or seen < expected:
        data = _read(stream, READ_BYTES if expected is None else min(READ_BYTES, expected - seen))
        if not data:
            break
        seen += len(data)
        yield data
        elapsed = time.monotonic() - started
        if elapsed > SLOW_AFTER_SECONDS and seen < elapsed * MIN_BYTES_PER_SECOND:
            raise TooSlow
    if expected is not None and seen != expected:
        raise SizeInvalid(f"the body ended after {seen} of {expected} bytes")


def read_limited(limit: int) -> bytes:
    """Return a whole body of at most limit bytes. Raises: ManifestTooLarge, and as read_body."""
    if (request.content_length or 0) > limit:
        raise ManifestTooLarge(f"a manifest has at most {limit} bytes")
    body = b""
    for data in read_body():
        body += data
        if len(body) > limit:
            raise ManifestTooLarge(f"a manifest has at most {limit} bytes")
    return body


def _read(stream: object, size: int) -> bytes:
    try:
        return stream.read(size)  # type: ignore[attr-defined, no-any-return]
    except TimeoutError as exc:
        raise TooSlow from exc
    except (OSError, ParseException) as exc:  # the client is gone, or its chunks are malformed
        raise SizeInvalid("the body ended before its end") from exc
