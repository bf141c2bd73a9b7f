"""What we ask of an upstream registry: a tag's digest, a manifest, a blob from some byte on.

Its base URLs are tried in order; one that is unavailable is passed over, one that says 404 is
believed only if no other has it. What comes is checked before anybody sees it.
Spec: end-2, end-3 (as a client).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from distserver.oci.digests import Digest
from distserver.oci.errors import DigestInvalid, ManifestInvalid
from distserver.oci.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MAX_MANIFEST_BYTES,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
    parse_manifest,
)
from distserver.oci.references import Reference
from distserver.proxy.upstream_auth import Authenticator
from distserver.proxy.upstream_client import SILENCE_SECONDS, Answer, Transfer, error_of
from distserver.proxy.upstream_errors import (
    UpstreamAbsent,
    UpstreamError,
    UpstreamLied,
    UpstreamUnavailable,
)

ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST))
STALL_SECONDS = 30.0
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.ASCII)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest as an upstream sent it; the digest is ours, computed from the bytes."""

    digest: Digest
    body: bytes
    manifest: Manifest


@dataclass
class Body:
    """The bytes of a blob from start on, on their way. Close it; `with` does.

    size   bytes of the whole blob
    start  offset of the first byte that comes
    """

    size: int
    start: int
    answer: Answer = field(repr=False)

    def read(self, n: int) -> bytes:
        """Return up to n bytes; b"" at the end. Raises: UpstreamUnavailable."""
        return self.answer.read(n)

    def __enter__(self) -> Body:
        return self

    def __exit__(self, *exc: object) -> None:
        self.answer.close()


@dataclass(frozen=True, slots=True)
class Place:
    """One base URL of an upstream, with what answers its challenges."""

    url: str
    authenticator: Authenticator


class UpstreamRegistry:
    """One upstream. Its repositories' names are those that it uses itself."""

    def __init__(self, transfer: Transfer, places: Sequence[Place]) -> None:
        self._transfer, self._places = transfer, places

    def resolve(self, repository: str, reference: Reference, seconds: float) -> Digest | None:
        """Return the digest that a reference has there now; None if the upstream does not say.

            seconds  longest silence
        Raises: UpstreamError.
        """
        path = f"/v2/{repository}/manifests/{reference}"

        def ask(place: Place) -> Digest | None:
            with self._ask(place, "HEAD", path, repository, {"Accept": ACCEPT}, seconds) as answer:
                return _digest_header(answer)

        return self._first(ask)

    def manifest(self, repository: str, reference: Reference) -> Fetched:
        """Fetch a manifest; by digest its bytes have that digest.

        Raises: UpstreamError; UpstreamLied for what contradicts itself or is no manifest.
        """
        path = f"/v2/{repository}/manifests/{reference}"

        def ask(place: Place) -> Fetched:
            headers = {"Accept": ACCEPT}
            with self._ask(place, "GET", path, repository, headers, SILENCE_SECONDS) as answer:
                return _checked(answer, reference)

        return self._first(ask)

    def has_blob(self, repository: str, digest: Digest, seconds: float) -> bool:
        """Whether that repository serves the blob to us. Raises: UpstreamError but for a 404."""
        path = f"/v2/{repository}/blobs/{digest}"

        def ask(place: Place) -> bool:
            with self._ask(place, "HEAD", path, repository, {}, seconds):
                return True

        try:
            return self._first(ask)
        except UpstreamAbsent:
            return False

    def blob(self, repository: str, digest: Digest, start: int = 0) -> Body:
        """Open a blob from a byte on; an upstream that ignores ranges gives it from 0.

        The bytes are not checked: whoever keeps them proves the digest of the whole.
        Raises: UpstreamError.
        """
        path = f"/v2/{repository}/blobs/{digest}"
        headers = {"Range": f"bytes={start}-"} if start else {}

        def ask(place: Place) -> Body:
            answer = self._ask(place, "GET", path, repository, headers, STALL_SECONDS)
            try:
                return _body(answer, start)
            except UpstreamError:
                answer.close()
                raise

        return self._first(ask)

    def _first(self, ask: Callable[[Place], T]) -> T:
        """Ask one place after the other. The last error that is no 404 tells more than a 404."""
        failure: UpstreamError = UpstreamUnavailable("the upstream has no URL")
        for place in self._places:
            try:
                return ask(place)
            except UpstreamError as exc:
                if not isinstance(exc, UpstreamAbsent) or place is self._places[0]:
                    failure = exc
        raise failure

    def _ask(
        self,
        place: Place,
        method: str,
        path: str,
        repository: str,
        headers: dict[str, str],
        seconds: float,
    ) -> Answer:
        """Ask once, answer a challenge, ask again. Raises: UpstreamError; the answer is good."""
        scope = f"repository:{repository}:pull"
        url = place.url.rstrip("/") + path
        sent = {**headers, **place.authenticator.header(scope)}
        answer = self._transfer.send(method, url, sent, seconds=seconds)
        if answer.status == 401:
            with answer:
                again = {**headers, **place.authenticator.answer(answer, scope)}
            answer = self._transfer.send(method, url, again, seconds=seconds)
        if error := error_of(answer):
            answer.close()
            raise error
        return answer


def _digest_header(answer: Answer) -> Digest | None:
    try:
        return Digest.parse(answer.headers.get("Docker-Content-Digest", ""))
    except DigestInvalid:
        return None


def _checked(answer: Answer, reference: Reference) -> Fetched:
    body = answer.read_limited(MAX_MANIFEST_BYTES)
    expected = reference if isinstance(reference, Digest) else _digest_header(answer)
    digest = Digest.of(body, reference.algorithm if isinstance(reference, Digest) else "sha256")
    if expected and expected.algorithm == digest.algorithm and expected != digest:
        raise UpstreamLied(f"the manifest has the digest {digest}, not {expected}")
    try:
        manifest = parse_manifest(body, answer.headers.get("Content-Type"))
    except ManifestInvalid as exc:
        # A captive portal answers 200 with a page of its own: this says nothing of the image.
        raise UpstreamLied(f"what came is no manifest: {exc.message}") from exc
    return Fetched(digest, body, manifest)


def _body(answer: Answer, start: int) -> Body:
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise UpstreamLied("the blob is sent in another encoding")
    if answer.status == 206:
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if not match or int(match[1]) != start or int(match[2]) + 1 != int(match[3]):
            raise UpstreamLied("the range that came is not the one asked for")
        return Body(int(match[3]), start, answer)
    length = answer.headers.get("Content-Length", "")
    if not (length.isascii() and length.isdigit()) or len(length) > 18:
        raise UpstreamLied("the blob has no length")
    return Body(int(length), 0, answer)
