"""Referrers of a digest. Spec: end-12."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from distserver.api.base import blueprint, describe, registry
from distserver.api.responses import document
from distserver.oci.digests import Digest
from distserver.oci.manifests import MAX_MANIFEST_BYTES, OCI_INDEX
from distserver.oci.names import parse_name

MAX_PAGE_BYTES = MAX_MANIFEST_BYTES - (64 << 10)


@blueprint.get("/v2/<name:name>/referrers/<digest>")
def list_referrers(name: str, digest: str) -> Response:
    """List the referrers as an index; empty, never 404, if there are none. Spec: end-12a, b."""
    name, subject = parse_name(name), Digest.parse(digest)
    describe(name=name, digest=subject)
    wanted = request.args.get("artifactType")
    shown, more = _page(name, subject, wanted)
    response = document({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": shown}, OCI_INDEX)
    if wanted:
        response.headers["OCI-Filters-Applied"] = "artifactType"
    if more:
        query = {"artifactType": wanted} if wanted else {}
        query["last"] = shown[-1]["digest"]
        response.headers["Link"] = f'<{request.path}?{urlencode(query)}>; rel="next"'
    return response


def _page(name: str, subject: Digest, wanted: str | None) -> tuple[list[dict[str, Any]], bool]:
    """As many descriptors as clients accept in one answer, and whether there are more."""
    shown: list[dict[str, Any]] = []
    size = 0
    for descriptor in registry().referrers.list(name, subject, request.args.get("last", "")):
        if wanted and descriptor.get("artifactType") != wanted:
            continue
        size += len(json.dumps(descriptor))
        if shown and size > MAX_PAGE_BYTES:
            return shown, True
        shown.append(descriptor)
    return shown, False
