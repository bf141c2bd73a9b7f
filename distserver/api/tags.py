"""The list of tags. Spec: end-8."""

from __future__ import annotations

from flask import Response

from distserver.api.base import blueprint, describe, registry
from distserver.api.paging import page
from distserver.oci.errors import NameUnknown
from distserver.oci.names import parse_name


@blueprint.get("/v2/<name:name>/tags/list")
def list_tags(name: str) -> Response:
    """List the tags of a repository in the order of their characters. Spec: end-8a, end-8b."""
    name = parse_name(name)
    describe(name=name)
    tags = sorted(registry().tags.names(name))
    if not tags and not registry().catalog.knows(name):
        raise NameUnknown(detail={"name": name})
    return page(tags, "tags", {"name": name}, None)
