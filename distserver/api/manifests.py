"""Manifests: pull, push and delete. Spec: end-3, end-7, end-9."""

from __future__ import annotations

from flask import Response, current_app, g, request

from distserver.api.base import blueprint, describe, registry, require_deletes
from distserver.api.body import read_limited
from distserver.api.responses import empty
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestUnknown, NameUnknown, TooManyTags
from distserver.oci.manifests import MAX_MANIFEST_BYTES
from distserver.oci.names import Tag, check_pushable, parse_name, parse_tag
from distserver.oci.ranges import etag_matches
from distserver.oci.references import Reference, parse_reference
from distserver.registry.manifests import StoredManifest

MAX_WARNING = 1000
MAX_TAGS = 50
"""Each comes back in a header of its own, and common HTTP libraries take 100 headers in all."""


@blueprint.get("/v2/<name:name>/manifests/<reference>")
def get_manifest(name: str, reference: str) -> Response:
    """Send a manifest exactly as it was pushed, whatever Accept says. Spec: end-3."""
    name, parsed = parse_name(name), parse_reference(reference)
    describe(name=name, reference=parsed)
    stored = _get(name, parsed)
    headers = _headers(stored)
    if stored.pulled:
        current_app.extensions["distserver.pulls"].note(name, stored.digest)
    if request.method == "GET":
        current_app.extensions["distserver.recent"].note(name, reference)
    if etag_matches(request.headers.get("If-None-Match"), str(stored.digest)):
        return empty(304, headers)
    return Response(stored.data, headers=headers)


@blueprint.put("/v2/<name:name>/manifests/<reference>")
def put_manifest(name: str, reference: str) -> Response:
    """Take a manifest under a tag, or under its digest with any number of tags. Spec: end-7."""
    name, parsed = parse_name(name), parse_reference(reference)
    describe(name=name, reference=parsed)
    check_pushable(request.host, name)
    registry().require_space()
    digest = parsed if isinstance(parsed, Digest) else None
    tags = _tags(parsed)
    body = read_limited(MAX_MANIFEST_BYTES)
    pushed = registry().manifests.put(name, digest, tags, body, request.headers.get("Content-Type"))
    response = empty(201, {"Content-Length": "0", "Docker-Content-Digest": str(pushed.digest)})
    response.headers["Location"] = f"/v2/{name}/manifests/{pushed.digest}"
    if pushed.subject:
        response.headers["OCI-Subject"] = str(pushed.subject)
    for tag in tags if digest else ():
        response.headers.add("OCI-Tag", tag)
    return response


@blueprint.delete("/v2/<name:name>/manifests/<reference>")
def delete_manifest(name: str, reference: str) -> Response:
    """Delete a tag, or a manifest with all its tags. Spec: end-9."""
    name, parsed = parse_name(name), parse_reference(reference)
    describe(name=name, reference=parsed)
    require_deletes()
    if isinstance(parsed, Digest):
        registry().manifests.delete(name, parsed)
    else:
        registry().tags.delete(name, parsed)
    return empty(202, {"Content-Length": "0"})


def _get(name: str, reference: Reference) -> StoredManifest:
    manifests = registry().manifests
    try:
        return manifests.held(name, reference) if _pushes() else manifests.get(name, reference)
    except ManifestUnknown:
        if not registry().catalog.knows(name):
            raise NameUnknown(detail={"name": name}) from None
        raise


def _pushes() -> bool:
    """Whether this is containerd's question before a push: by HEAD, for one type and any other.

    It decides whether a push has to bring the manifest, so it is told of what is stored here.
    """
    kinds = [kind.strip() for kind in request.headers.get("Accept", "").split(",")]
    return request.method == "HEAD" and g.may_push and len(kinds) == 2 and kinds[1] == "*/*"


def _tags(reference: Reference) -> list[Tag]:
    given = [parse_tag(text) for text in request.args.getlist("tag")]
    if len(given) > MAX_TAGS:
        raise TooManyTags(f"at most {MAX_TAGS} tags at once")
    return given if isinstance(reference, Digest) else [reference, *given]


def _headers(stored: StoredManifest) -> dict[str, str]:
    headers = {
        "Content-Type": stored.media_type,
        "Content-Length": str(len(stored.data)),
        "Docker-Content-Digest": str(stored.digest),
        "ETag": f'"{stored.digest}"',
    }
    if stored.warning:
        headers["Warning"] = f'299 - "{_quotable(stored.warning)}"'
    return headers


def _quotable(text: str) -> str:
    """A text as a quoted string of a header. Spec: "Warnings": at most 4096 bytes in all."""
    kept = (c if " " <= c <= "~" and c not in '"\\' else "?" for c in text[:MAX_WARNING])
    return "".join(kept)
