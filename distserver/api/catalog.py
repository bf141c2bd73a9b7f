"""The catalogue of repositories: Docker's `_catalog`, which tools still ask."""

from __future__ import annotations

from flask import Response

from distserver.api.base import blueprint, registry
from distserver.api.paging import page

DEFAULT_COUNT = 100


@blueprint.get("/v2/_catalog")
def list_repositories() -> Response:
    """List repositories, 100 a page unless `n` says otherwise, never more than 1000."""
    return page(registry().catalog.names(), "repositories", {}, DEFAULT_COUNT)
