"""The one name that a repository has here, however a client spells it.

    GET /v2/library/nginx/...?ns=docker.io      containerd's mirrors
    GET /v2/docker.io/library/nginx/...         the host in the path
    GET /v2/docker.io/nginx/...                 and docker's short form
    GET /v2/library/nginx/...                   docker's registry-mirrors, which name no registry

all mean docker.io/library/nginx. A name whose first component is no upstream is one of our own,
but for library/, which is Docker Hub's, and for requests under a host that is set aside for an
upstream (hosts): a request of docker's registry-mirrors looks like any other.
Spec: "Registry Proxying" (parameter ns, header OCI-Namespace).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode

from distserver.oci import errors
from distserver.proxy.upstream.table import DOCKER_HUB, Upstream, Upstreams

_ROUTE = re.compile(
    r"/v2/(?P<name>.+)/(?P<rest>(?:manifests|blobs|referrers)/[^/]+|tags/list|blobs/uploads/.*)"
)
MAX_NS = 255
OFFICIAL = "library"
"""First component of the official images of Docker Hub: nobody else's."""
WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


def name_here(upstreams: Upstreams, own: Collection[str], name: str, ns: str | None) -> str:
    """Return the name of a repository here. Pure.

        own   host[:port] that mean this server
        name  as in the URL's path
        ns    the parameter `ns`; None = not given
    Raises: NameUnknown for an ns that is neither us nor an upstream.
    """
    if ns is None or ns.lower() in own:
        host, _, rest = name.partition("/")
        upstream = upstreams.find(DOCKER_HUB if host == OFFICIAL else host) if rest else None
        return _full(upstream, name if host == OFFICIAL else rest) if upstream else name
    upstream = upstreams.find(ns)
    if upstream is None:
        raise errors.NameUnknown("this namespace is not served here", {"ns": ns[:MAX_NS]})
    if name.startswith(f"{upstream.directory}/"):
        return name  # from a Location or Link of ours, to which the client added its ns again
    return _full(upstream, name)


def _full(upstream: Upstream, name: str) -> str:
    if upstream.name == DOCKER_HUB and "/" not in name:
        name = f"library/{name}"
    return f"{upstream.directory}/{name}"


class Namespaces:
    """WSGI middleware: rewrites the path to the name here, so that nothing behind it sees `ns`.

    environ["distserver.namespace"] = what `ns` said, None if it was not given.
    """

    def __init__(self, app: WsgiApp, upstreams: Upstreams, names: Iterable[str]) -> None:
        self._app = app
        self._upstreams = upstreams
        self._own = frozenset(name.lower() for name in names)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request; see WSGI (PEP 3333)."""
        match = _ROUTE.fullmatch(environ.get("PATH_INFO", ""))
        if match is None:
            return self._app(environ, start_response)
        query = environ.get("QUERY_STRING", "")
        pairs = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
        ns = next((value for key, value in reversed(pairs) if key == "ns"), None) or None
        environ["distserver.namespace"] = ns
        here = partial(self._name_here, environ.get("HTTP_HOST", "").lower(), ns)
        try:
            environ["PATH_INFO"] = f"/v2/{here(match['name'])}/{match['rest']}"
            # A mount names its source as the client knows it.
            named = [(key, here(value) if key == "from" else value) for key, value in pairs]
            named = [pair for pair in named if pair[0] != "ns"]
        except errors.NameUnknown as error:
            return _refuse(error, environ, start_response)
        if named != pairs:
            environ["QUERY_STRING"] = urlencode(named, errors="surrogateescape")
        return self._app(environ, _naming(ns, start_response) if ns else start_response)

    def _name_here(self, host: str, ns: str | None, name: str) -> str:
        meant = self._upstreams.meant_under(host) if ns is None else None
        return name_here(self._upstreams, self._own | {host}, name, meant.name if meant else ns)


def _naming(ns: str, start_response: Any) -> Any:
    shown = ns if ns.isascii() and ns.isprintable() else ""

    def start(status: str, headers: list[tuple[str, str]], *exc: Any) -> Any:
        return start_response(status, [*headers, ("OCI-Namespace", shown)], *exc)

    return start


def _refuse(
    error: errors.RegistryError, environ: dict[str, Any], start_response: Any
) -> Iterable[bytes]:
    body = json.dumps(errors.body(error)).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Docker-Distribution-API-Version", "registry/2.0"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    start_response("404 Not Found", headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]
