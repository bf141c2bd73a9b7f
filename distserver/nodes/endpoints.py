"""URLs under which nodes reach servers of ours, and whether a registry answers there."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import ssl
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

ANSWER_SECONDS = 4.0
"""Longest wait for all endpoints together; asking does not outlast it, nor do dead name servers."""
MAX_BODY_BYTES = 64 << 10
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server of ours: scheme http or https, and host[:port]."""

    scheme: str
    host: str

    @property
    def plain(self) -> bool:
        """Whether it is spoken to without TLS."""
        return self.scheme == "http"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint said.

    problem      why it is of no use; "" = a registry answers
    trouble      what a server of ours says is wrong with it; "" = nothing, or it is none of ours
    certificate  of the server, DER; empty = none was shown
    """

    problem: str = ""
    trouble: str = ""
    certificate: bytes = b""


def parse_endpoint(url: str) -> Endpoint:
    """Read http[s]://HOST[:PORT]. Raises: ValueError in words for the operator."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises for a port that is none
    except ValueError as exc:
        raise ValueError(f"{url!r} is not a URL: {exc}") from exc
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{url!r}: an endpoint begins with http:// or https://")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{url!r}: an endpoint ends behind the port; runtimes add /v2/ themselves")
    host = parts.netloc.lower()
    if not is_host(host):
        raise ValueError(f"{url!r}: {parts.netloc!r} is not HOST[:PORT]")
    return Endpoint(parts.scheme, host)


def endpoints_of(urls: Iterable[str]) -> tuple[Endpoint, ...]:
    """Return the URLs that can be endpoints of ours, once each, in order; pass over others."""
    found: dict[Endpoint, None] = {}
    for url in urls:
        with contextlib.suppress(ValueError):  # somebody's mirror with a path of its own
            found[parse_endpoint(url)] = None
    return tuple(found)


def is_host(text: str) -> bool:
    """Whether this is host[:port] as image names have it, in small letters."""
    return _HOST.fullmatch(text) is not None


def ask(
    endpoints: Sequence[Endpoint], ca: bytes = b"", seconds: float = ANSWER_SECONDS
) -> Mapping[Endpoint, Answer]:
    """Ask all endpoints at once for /v2/.

    ca       PEM of authorities to trust beside the system's
    seconds  longest wait for all of them together
    """
    found: dict[Endpoint, Answer] = {}

    def run(endpoint: Endpoint) -> None:
        found[endpoint] = _ask(endpoint, ca, seconds)

    # Threads, since looking up a name knows no deadline; they do not hold the process.
    threads = [threading.Thread(target=run, args=(one,), daemon=True) for one in endpoints]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    silent = Answer("no answer in time")
    return {endpoint: found.get(endpoint, silent) for endpoint in endpoints}


def _ask(endpoint: Endpoint, ca: bytes, seconds: float) -> Answer:
    try:
        return _request(endpoint, ca, seconds)
    except (OSError, ValueError, http.client.HTTPException) as exc:
        return Answer(f"{getattr(exc, 'strerror', None) or exc or type(exc).__name__}")


def _request(endpoint: Endpoint, ca: bytes, seconds: float) -> Answer:
    connection = _connection(endpoint, ca, seconds)
    try:
        connection.request("GET", "/v2/")
        certificate = _certificate(connection)
        answer = connection.getresponse()
        answer.read(MAX_BODY_BYTES)
        version = answer.headers.get("Docker-Distribution-API-Version", "")
        # 401 is a registry that wants a name; a proxy's error page is none.
        if answer.status not in (200, 401) or version != "registry/2.0":
            return Answer(f"what answers is no registry ({answer.status} for /v2/)")
        return Answer("", _trouble(connection), certificate)
    finally:
        connection.close()


def _trouble(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", "/readyz")
    try:
        state = json.loads(connection.getresponse().read(MAX_BODY_BYTES))
        return str(state["storage"]["problem"] or "")
    except (ValueError, LookupError, TypeError):
        return ""  # another registry


def _connection(endpoint: Endpoint, ca: bytes, seconds: float) -> http.client.HTTPConnection:
    if endpoint.plain:
        return http.client.HTTPConnection(endpoint.host, timeout=seconds)
    context = ssl.create_default_context()
    if ca:
        context.load_verify_locations(cadata=ca.decode("ascii", "replace"))
    return http.client.HTTPSConnection(endpoint.host, timeout=seconds, context=context)


def _certificate(connection: http.client.HTTPConnection) -> bytes:
    socket = connection.sock
    return (socket.getpeercert(True) or b"") if isinstance(socket, ssl.SSLSocket) else b""
