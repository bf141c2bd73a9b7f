"""Plain requests to our server for one site's image, and what came of them."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.live import Server
from tests.upstreams.images import INDEX, MANIFEST, digest_of
from tests.upstreams.site import Site

HANG_SECONDS = 60.0
"""What takes longer than this has no end, for a client's purposes."""


@dataclass(frozen=True)
class Answer:
    """An answer.

    status   0 = the connection was closed without any
    whole    whether its body had the announced length
    seconds  until its headers were there
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool
    seconds: float

    @property
    def code(self) -> str:
        """Code of the first error of a body as the spec has it, "" if it is none."""
        try:
            return str(json.loads(self.body)["errors"][0]["code"])
        except (ValueError, LookupError, TypeError):
            return ""


class Asking:
    """Asks a server for the parts of a site's image, as containerd asks: with `?ns=`."""

    def __init__(self, server: Server, site: Site) -> None:
        self._port, self._site = server.port, site

    def tag(self, method: str = "HEAD") -> Answer:
        """Ask for the tag."""
        return self._ask(method, "manifests/v1")

    def manifest(self, digest: str) -> Answer:
        """Ask for a manifest by digest."""
        return self._ask("GET", f"manifests/{digest}")

    def blob(self, digest: str, start: int = 0) -> Answer:
        """Ask for a blob, from some byte on."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        return self._ask("GET", f"blobs/{digest}", headers)

    def pull(self) -> str:
        """Pull everything; return "" if it came whole and right, else what went wrong first."""
        image = self._site.image
        for wanted, got in (
            (image.index, lambda: self.tag("GET")),
            (image.manifest, lambda: self.manifest(digest_of(image.manifest))),
            (image.config, lambda: self.blob(digest_of(image.config))),
            (image.layer, lambda: self.blob(digest_of(image.layer))),
        ):
            answer = got()
            if answer.status != 200:
                return f"{digest_of(wanted)}: {answer.status} {answer.body[:300]!r}"
            if answer.body != wanted:
                return f"{digest_of(wanted)}: {len(answer.body)} of {len(wanted)} bytes"
        return ""

    def path(self, rest: str) -> str:
        """Path and query of something in the repository."""
        return f"/v2/{self._site.repository}/{rest}?ns={self._site.name}"

    def _ask(self, method: str, rest: str, headers: Mapping[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=HANG_SECONDS)
        begin = time.monotonic()
        given = {"Accept": f"{INDEX}, {MANIFEST}", **(headers or {})}
        try:
            connection.request(method, self.path(rest), headers=given)
            response = connection.getresponse()
            seconds = time.monotonic() - begin
            try:
                body, whole = response.read(), True
            except http.client.IncompleteRead as exc:
                body, whole = exc.partial, False
            return Answer(response.status, dict(response.headers), body, whole, seconds)
        except http.client.RemoteDisconnected:
            return Answer(0, {}, b"", False, time.monotonic() - begin)
        finally:
            connection.close()
