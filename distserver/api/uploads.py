"""Blob pushes. Spec: end-4, end-5, end-6, end-11, end-13, end-14."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from flask import Response, g, request

from distserver.api.base import blueprint, describe, registry
from distserver.api.body import has_body, read_body
from distserver.api.responses import empty
from distserver.oci.digests import Digest, parse_algorithm
from distserver.oci.errors import DigestInvalid, NameInvalid
from distserver.oci.names import check_pushable, parse_name
from distserver.oci.ranges import ByteRange, parse_content_range, upload_range

MAX_SOURCES = 1000
"""Repositories that a mount without `from` looks into; the client uploads if none has it."""


@blueprint.post("/v2/<name:name>/blobs/uploads")
@blueprint.post("/v2/<name:name>/blobs/uploads/")
def begin(name: str) -> Response:
    """Open a session, take a whole blob, or mount one. Spec: end-4a, end-4b, end-11."""
    name = parse_name(name)
    describe(name=name)
    check_pushable(request.host, name)
    registry().require_space()
    if "mount" in request.args:
        return _mount(name) or _opened(name)
    if "digest" in request.args:
        digest = _digest()
        registry().blobs.put(name, digest, read_body())
        return _created(name, digest)
    parse_algorithm(request.args.get("digest-algorithm", "sha256"))
    return _opened(name)


@blueprint.get("/v2/<name:name>/blobs/uploads/<session>")
def status(name: str, session: str) -> Response:
    """Say how much a session holds. Spec: end-13."""
    name = parse_name(name)
    describe(name=name)
    return _session(204, name, session, registry().uploads.size(name, session, g.user))


@blueprint.patch("/v2/<name:name>/blobs/uploads/<session>")
def append(name: str, session: str) -> Response:
    """Add a chunk to a session. Spec: end-5."""
    name = parse_name(name)
    describe(name=name)
    registry().require_space()
    size = registry().uploads.append(name, session, g.user, read_body(), _chunk_range())
    return _session(202, name, session, size)


@blueprint.put("/v2/<name:name>/blobs/uploads/<session>")
def finish(name: str, session: str) -> Response:
    """Close a session, with or without a last chunk, and publish its blob. Spec: end-6."""
    name, digest = parse_name(name), _digest()
    describe(name=name, digest=digest)
    registry().require_space()
    last = (read_body(), _chunk_range()) if has_body() else None
    registry().uploads.finish(name, session, g.user, digest, last)
    return _created(name, digest)


@blueprint.delete("/v2/<name:name>/blobs/uploads/<session>")
def cancel(name: str, session: str) -> Response:
    """Give a session up. Spec: end-14."""
    name = parse_name(name)
    describe(name=name)
    registry().uploads.cancel(name, session, g.user)
    return empty(204, {})


def _mount(name: str) -> Response | None:
    """Answer a mount; None when the client has to upload instead, which is never an error."""
    digest = Digest.parse(request.args["mount"])
    if not g.may_pull:
        return None
    for source in _sources():
        if registry().blobs.mount(name, digest, source):
            return _created(name, digest)
    return None


def _sources() -> Iterable[str]:
    """Repositories to mount from: the one that the client names, else those that it may read."""
    if "from" not in request.args:
        return islice(registry().catalog.with_content(), MAX_SOURCES)
    try:
        return [parse_name(request.args["from"])]
    except NameInvalid:
        return []


def _digest() -> Digest:
    given = request.args.getlist("digest")
    if len(given) != 1:
        raise DigestInvalid("the query must name one digest")
    return Digest.parse(given[0])


def _chunk_range() -> ByteRange | None:
    header = request.headers.get("Content-Range")
    return parse_content_range(header) if header else None


def _opened(name: str) -> Response:
    return _session(202, name, registry().uploads.begin(name, g.user), 0)


def _session(status: int, name: str, session: str, size: int) -> Response:
    headers = {
        "Location": f"/v2/{name}/blobs/uploads/{session}",
        "Docker-Upload-UUID": session,
        "Range": upload_range(size),
    }
    return empty(status, headers if status == 204 else headers | {"Content-Length": "0"})


def _created(name: str, digest: Digest) -> Response:
    headers = {
        "Location": f"/v2/{name}/blobs/{digest}",
        "Docker-Content-Digest": str(digest),
        "Content-Length": "0",
    }
    return empty(201, headers)
