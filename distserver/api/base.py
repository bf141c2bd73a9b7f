"""The blueprint, its routes, and the one place where errors become answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

from flask import Blueprint, Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from backends.errors import Corrupt, Full, NotFound, StorageError
from distserver.api.access import Access
from distserver.api.responses import document, empty
from distserver.oci import errors
from distserver.registry import Registry

log = logging.getLogger(__name__)
blueprint = Blueprint("v2", __name__)

_CODES: dict[int, Callable[[str], errors.RegistryError]] = {
    404: errors.NameUnknown,
    405: errors.Unsupported,
}


class NameConverter(BaseConverter):
    """Any text with slashes; parse_name decides, so that a bad name gets a spec-shaped answer."""

    regex = r"[\s\S]+"
    part_isolating = False


def create_api(app: Flask, registry: Registry, access: Access, deletes_enabled: bool) -> None:
    """Hang the distribution API on an application."""
    from distserver.api import (
        blobs,
        catalog,
        health,
        manifests,
        overview,
        referrers,
        tags,
        uploads,
    )

    # They register their routes.
    _ = blobs, catalog, health, manifests, overview, referrers, tags, uploads
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False
    app.url_map.converters["name"] = NameConverter
    app.extensions["distserver"] = registry
    app.config["DELETES_ENABLED"] = deletes_enabled
    app.before_request(_note_route)
    app.before_request(access.check)
    app.after_request(_common_headers)
    app.register_error_handler(errors.RegistryError, render)
    app.register_error_handler(StorageError, _storage_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_blueprint(blueprint)


def registry() -> Registry:
    """The registry that the application was made with."""
    return cast(Registry, current_app.extensions["distserver"])


def describe(**fields: object) -> None:
    """Add to what the request's log line says."""
    request.environ.setdefault("distserver.log", {}).update(
        {key: str(value) for key, value in fields.items()}
    )


def require_deletes() -> None:
    """Refuse a delete where deletes are switched off, tags included. Raises: Unsupported."""
    if not current_app.config["DELETES_ENABLED"]:
        raise errors.Unsupported(
            "deletes are switched off here", headers={"Allow": "GET, HEAD, PUT"}
        )


@blueprint.get("/v2")
@blueprint.get("/v2/")
def base() -> Response:
    """Say that the API is spoken. Spec: end-1."""
    return document({})


def render(error: errors.RegistryError) -> Response:
    """Make an error an answer. Spec: "Error Codes"."""
    describe(error=error.code)
    if request.method == "HEAD":
        return empty(error.status, error.headers)
    response = document(errors.body(error), status=error.status)
    response.headers.update(error.headers)
    return response


def _storage_error(error: StorageError) -> Response:
    if isinstance(error, Full):
        return render(errors.StorageFull(f"the storage is full: {error}"))
    if isinstance(error, Corrupt):
        return render(
            errors.ServiceUnavailable("the stored content is damaged", {"damaged": str(error)})
        )
    if isinstance(error, NotFound):
        log.error("an entry vanished while it was used: %s", error)
    log.warning("storage unavailable: %s", error)
    return render(errors.ServiceUnavailable("the storage does not answer"))


def _http_error(error: HTTPException) -> Response:
    """Answers of the framework (no such route, method, malformed request) in the spec's shape."""
    status = error.code or 500
    other = errors.RegistryError if status >= 500 else errors.Unsupported
    shaped = _CODES.get(status, other)(error.name)
    shaped.status = status
    shaped.headers = {k: v for k, v in error.get_headers() if k in ("Allow", "Retry-After")}
    return render(shaped)


def _note_route() -> None:
    request.environ["distserver.metrics"] = current_app.extensions.get("distserver.metrics")
    request.environ["distserver.route"] = request.url_rule.rule if request.url_rule else "-"


def _common_headers(response: Response) -> Response:
    response.headers["Docker-Distribution-API-Version"] = "registry/2.0"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
