"""Blobs: pull and delete. Spec: end-2, end-10."""

from __future__ import annotations

from flask import Response, g, request

from backends.errors import Corrupt
from distserver.api.base import blueprint, describe, registry, require_deletes
from distserver.api.responses import empty, stream
from distserver.oci.digests import Digest
from distserver.oci.errors import BlobUnknown
from distserver.oci.names import parse_name
from distserver.oci.ranges import ByteRange, etag_matches, if_range_matches, parse_range

REDIRECT_BYTES = 1 << 20
"""Below this a redirect costs a client more than it spares us."""
REDIRECT_SECONDS = 900


@blueprint.get("/v2/<name:name>/blobs/<digest>")
def get_blob(name: str, digest: str) -> Response:
    """Send a blob, or one range of it. Spec: end-2; RFC 9110 §13, §14."""
    name, parsed = parse_name(name), Digest.parse(digest)
    describe(name=name, digest=parsed)
    if request.method == "HEAD":
        return _head(name, parsed)
    found, headers = registry().blobs.find(name, parsed), _headers(parsed)
    if etag_matches(request.headers.get("If-None-Match"), str(parsed)):
        return empty(304, headers)
    if elsewhere := _elsewhere(parsed, found.size):
        return empty(307, {"Location": elsewhere, "Content-Length": "0"})
    wanted = _wanted_range(parsed, found.size)
    if wanted is None:
        return stream(found.open(0, found.size), found.size, 200, headers)
    headers["Content-Range"] = wanted.content_range(found.size)
    reader = found.open(wanted.start, wanted.stop)
    return stream(reader, wanted.stop - wanted.start, 206, headers)


@blueprint.delete("/v2/<name:name>/blobs/<digest>")
def delete_blob(name: str, digest: str) -> Response:
    """Take a blob from this repository; others keep theirs. Spec: end-10."""
    name, parsed = parse_name(name), Digest.parse(digest)
    describe(name=name, digest=parsed)
    require_deletes()
    registry().blobs.delete(name, parsed)
    return empty(202, {"Content-Length": "0"})


def _elsewhere(digest: Digest, size: int) -> str | None:
    """Where the client fetches a large blob itself, if that is set up.

    Not for a mirror's clients (`?ns=`): they take a redirect that fails for the mirror's failure.
    """
    if size < REDIRECT_BYTES or request.environ.get("distserver.namespace"):
        return None
    return registry().redirect_url(digest, REDIRECT_SECONDS)


def _head(name: str, digest: Digest) -> Response:
    size, headers = _size(name, digest), _headers(digest)
    if etag_matches(request.headers.get("If-None-Match"), str(digest)):
        return empty(304, headers)
    wanted = _wanted_range(digest, size)
    if wanted is None:
        return empty(200, headers | {"Content-Length": str(size)})
    length = str(wanted.stop - wanted.start)
    ranged = {"Content-Length": length, "Content-Range": wanted.content_range(size)}
    return empty(206, headers | ranged)


def _size(name: str, digest: Digest) -> int:
    """The blob's size. To a HEAD a damaged blob is not there: that is how clients push it again.

    Who may push is told of what is stored here: it decides whether a push has to bring the blob.
    """
    blobs = registry().blobs
    try:
        return blobs.held_size(name, digest) if g.may_push else blobs.size(name, digest)
    except Corrupt:
        raise BlobUnknown(detail={"damaged": str(digest)}) from None


def _wanted_range(digest: Digest, size: int) -> ByteRange | None:
    """The range to send; None = everything, also when If-Range names something else."""
    if not if_range_matches(request.headers.get("If-Range"), str(digest)):
        return None
    return parse_range(request.headers.get("Range"), size)


def _headers(digest: Digest) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000",
    }
