"""Plain requests to our server for one site's image, and what came of them."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.live import Server
from tests.upstreams.images import INDEX, MANIFEST, digest_of
from tests.upstreams.site import Place

HANG_SECONDS = 40.0
"""What takes longer than this has no end, for a client's purposes."""
MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Answer:
    """An answer.

    status   0 = the connection was closed without any, or nothing came for HANG_SECONDS
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

    def __init__(self, server: Server, place: Place) -> None:
        self._port, self._place = server.port, place

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
        image = self._place.image
        for wanted, ask in (
            (image.index, lambda: self.tag("GET")),
            (image.manifest, lambda: self.manifest(digest_of(image.manifest))),
            (image.config, lambda: self.blob(digest_of(image.config))),
            (image.layer, lambda: self.blob(digest_of(image.layer))),
        ):
            if failure := difference(ask(), wanted):
                return failure
        return ""

    def path(self, rest: str) -> str:
        """Path and query of something in the repository."""
        return f"/v2/{self._place.repository}/{rest}?ns={self._place.name}"

    def _ask(self, method: str, rest: str, headers: Mapping[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=HANG_SECONDS)
        begin = time.monotonic()
        given = {"Accept": f"{INDEX}, {MANIFEST}", **(headers or {})}
        try:
            connection.request(method, self.path(rest), headers=given)
            response = connection.getresponse()
            seconds = time.monotonic() - begin
            body = _body(response)
            announced = response.headers.get("Content-Length")
            whole = method == "HEAD" or announced in (None, str(len(body)))
            return Answer(response.status, dict(response.headers), body, whole, seconds)
        except (http.client.RemoteDisconnected, TimeoutError):
            return Answer(0, {}, b"", False, time.monotonic() - begin)
        finally:
            connection.close()


def _body(response: http.client.HTTPResponse) -> bytes:
    """All that comes, however much was announced; no more than any image here has."""
    body = bytearray()
    with contextlib.suppress(ConnectionResetError, TimeoutError):
        while len(body) < MAX_BYTES and (data := response.read1(1 << 16)):
            body += data
    return bytes(body)


def difference(answer: Answer, wanted: bytes) -> str:
    """What is wrong with an answer, "" if it is what was wanted.

    A body that is wrong and looks right is the one thing that must never be: it says COMPLETE.
    """
    if answer.status != 200:
        return f"{digest_of(wanted)}: {answer.status} {answer.body[:300]!r}"
    if answer.body == wanted:
        return "" if answer.whole else f"{digest_of(wanted)}: more bytes were announced"
    what = "a COMPLETE wrong body of" if answer.whole else "only"
    return f"{digest_of(wanted)}: {what} {len(answer.body)} of {len(wanted)} bytes"
