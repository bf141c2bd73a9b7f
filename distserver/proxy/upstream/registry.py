"""What we ask of an upstream registry: a tag's digest, a manifest, a blob from some byte on, lists.

One base URL. What comes is checked before anybody sees it.
Spec: end-2, end-3, end-8, end-12 (as a client).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin

from distserver.oci import strictjson
from distserver.oci.digests import Digest
from distserver.oci.errors import DigestInvalid, ManifestInvalid, TagInvalid
from distserver.oci.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MAX_MANIFEST_BYTES,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
    parse_manifest,
)
from distserver.oci.names import Tag, parse_tag
from distserver.oci.references import Reference
from distserver.proxy.upstream.auth import Authenticator
from distserver.proxy.upstream.client import SILENCE_SECONDS, Answer, Transfer, error_of, is_page
from distserver.proxy.upstream.errors import (
    UpstreamLied,
    UpstreamPage,
    UpstreamRangeRefused,
    UpstreamUnavailable,
)

ACCEPT = {"Accept": ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST))}
STALL_SECONDS = 30.0
MAX_PAGES = 100
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.ASCII)
_NEXT = re.compile(r'<([^>]{1,4096})>\s*;\s*rel="?next"?', re.ASCII)


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
        """Return what is there, up to n bytes; b"" at the end. Raises: UpstreamUnavailable."""
        return self.answer.read(n)

    def close(self) -> None:
        """End it, wherever it is."""
        self.answer.close()

    def __enter__(self) -> Body:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class UpstreamRegistry:
    """One base URL of an upstream. Repositories' names are those that it uses itself.

    Every method raises UpstreamError, and blocks on the network with limits of silence only:
    whoever asks adds a deadline (attempt).
    """

    def __init__(self, url: str, transfer: Transfer, authenticator: Authenticator) -> None:
        self.url = url
        self._transfer, self._authenticator = transfer, authenticator

    def resolve(self, repository: str, reference: Reference) -> Digest | None:
        """Return the digest that a reference has now; None if the upstream does not say."""
        path = f"/v2/{repository}/manifests/{reference}"
        with self._head(path, repository, ACCEPT) as answer:
            return _digest_header(answer)

    def manifest(self, repository: str, reference: Reference) -> Fetched:
        """Fetch a manifest; by digest its bytes have that digest.

        Raises: also UpstreamLied for what contradicts itself or is no manifest.
        """
        path = f"/v2/{repository}/manifests/{reference}"
        with self._ask("GET", path, repository, ACCEPT) as answer:
            return _checked(answer, reference)

    def blob_size(self, repository: str, digest: Digest) -> int:
        """Return the size of a blob that the repository serves to us. Raises: as every method."""
        with self._head(f"/v2/{repository}/blobs/{digest}", repository) as answer:
            return _length(answer, digest)

    def blob(
        self, repository: str, digest: Digest, start: int = 0, stall_seconds: float = STALL_SECONDS
    ) -> Body:
        """Open a blob from a byte on; from 0 if the upstream has no byte there or ignores ranges.

            stall_seconds  longest silence in the body
        The bytes are not checked: whoever keeps them proves the digest of the whole.
        """
        try:
            return self._blob(repository, digest, start, stall_seconds)
        except UpstreamRangeRefused:
            if not start:
                raise
            return self._blob(repository, digest, 0, stall_seconds)

    def _blob(self, repository: str, digest: Digest, start: int, stall_seconds: float) -> Body:
        headers = {"Range": f"bytes={start}-"} if start else {}
        path = f"/v2/{repository}/blobs/{digest}"
        answer = self._ask("GET", path, repository, headers, stall_seconds)
        try:
            return _body(answer, digest, start)
        except (UpstreamLied, UpstreamUnavailable):
            answer.close()
            raise

    def tags(self, repository: str) -> set[Tag]:
        """Return the tags of a repository; what no tag can be is left out."""
        found: set[Tag] = set()
        for page in self._pages(f"/v2/{repository}/tags/list", repository, {}):
            texts = page.get("tags") or ()
            found.update(filter(None, map(_tag, texts if isinstance(texts, list) else ())))
        return found

    def referrers(self, repository: str, subject: Digest) -> set[Digest]:
        """Return the digests of the manifests that name a subject; empty if there are none.

        An upstream without this API is asked for the fallback tag by whoever asks us.
        """
        found: set[Digest] = set()
        accept = {"Accept": OCI_INDEX}
        for page in self._pages(f"/v2/{repository}/referrers/{subject}", repository, accept):
            entries = page.get("manifests") or ()
            found.update(filter(None, map(_entry, entries if isinstance(entries, list) else ())))
        return found

    def _pages(
        self, path: str, repository: str, headers: Mapping[str, str]
    ) -> Iterator[dict[str, object]]:
        """Yield the JSON objects of a list, page by page, each of a manifest's size at most."""
        base = self.url.rstrip("/")
        for _ in range(MAX_PAGES):
            with self._ask("GET", path, repository, headers) as answer:
                yield _object(answer.read_limited(MAX_MANIFEST_BYTES))
                following = _NEXT.search(answer.headers.get("Link", ""))
            if not following:
                return
            target = _joined(base + path, following[1])
            if not target.startswith(f"{base}/"):
                raise UpstreamLied("the next page lies elsewhere")
            path = target.removeprefix(base)
        raise UpstreamUnavailable(f"a list of more than {MAX_PAGES} pages")

    def _head(self, path: str, repository: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask for headers; whether a page that says 404 is the registry's own, GET tells.

        Some registries' servers answer HEAD with the Content-Type of a page they do not send.
        """
        try:
            answer = self._ask("HEAD", path, repository, headers)
        except UpstreamPage:
            answer = self._ask("GET", path, repository, headers)
        try:
            _require_registry(answer)
        except UpstreamUnavailable:
            answer.close()
            raise
        return answer

    def _ask(
        self,
        method: str,
        path: str,
        repository: str,
        headers: Mapping[str, str] | None = None,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> Answer:
        """Ask once, answer a challenge, ask again; the answer is good."""
        scope = f"repository:{repository}:pull"
        url, given = self.url.rstrip("/") + path, dict(headers or {})
        sent = given | self._authenticator.header(scope)
        answer = self._transfer.send(method, url, sent, seconds=silence_seconds)
        if answer.status == 401:
            with answer:
                sent = given | self._authenticator.answer(answer, scope)
            answer = self._transfer.send(method, url, sent, seconds=silence_seconds)
        if error := error_of(answer):
            answer.close()
            raise UpstreamRangeRefused(error.reason) if answer.status == 416 else error
        return answer


def _joined(base: str, target: str) -> str:
    try:
        return urljoin(base, target)
    except ValueError as exc:
        raise UpstreamLied("the next page has no URL") from exc


def _digest_header(answer: Answer) -> Digest | None:
    try:
        return Digest.parse(answer.headers.get("Docker-Content-Digest", ""))
    except DigestInvalid:
        return None


def _checked(answer: Answer, reference: Reference) -> Fetched:
    _require_registry(answer)
    body = answer.read_limited(MAX_MANIFEST_BYTES)
    expected = reference if isinstance(reference, Digest) else _digest_header(answer)
    digest = Digest.of(body, reference.algorithm if isinstance(reference, Digest) else "sha256")
    if expected and expected.algorithm == digest.algorithm and expected != digest:
        raise UpstreamLied(f"the manifest has the digest {digest}, not {expected}")
    try:
        manifest = parse_manifest(body, answer.headers.get("Content-Type"))
    except ManifestInvalid as exc:
        raise UpstreamLied(f"what came is no manifest: {exc.message}") from exc
    return Fetched(digest, body, manifest)


def _require_registry(answer: Answer) -> None:
    """Refuse the page of a captive portal, which says nothing of an image."""
    if is_page(answer):
        raise UpstreamUnavailable("the upstream answers a web page")


def _body(answer: Answer, digest: Digest, start: int) -> Body:
    _require_registry(answer)
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise UpstreamLied("the blob is sent in another encoding")
    if answer.status == 206:
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        size = int(match[3]) if match else 0
        if not match or int(match[1]) != start or int(match[2]) + 1 != size:
            raise UpstreamLied("the range that came is not the one asked for")
        if _length(answer, digest) != size - start:
            raise UpstreamLied("the length is not that of the range")
        return Body(size, start, answer)
    return Body(_length(answer, digest), 0, answer)


def _length(answer: Answer, digest: Digest) -> int:
    length = answer.headers.get("Content-Length", "")
    if not (length.isascii() and length.isdigit()) or len(length) > 18:
        raise UpstreamLied("the blob has no length")
    if not int(length) and digest != Digest.of(b"", digest.algorithm):
        raise UpstreamLied("it says that the blob has no bytes")
    return int(length)


def _object(body: bytes) -> dict[str, object]:
    try:
        value = strictjson.loads(body)
    except strictjson.JsonInvalid as exc:
        raise UpstreamUnavailable("the list is no JSON") from exc
    if not isinstance(value, dict):
        raise UpstreamUnavailable("the list is no JSON object")
    return value


def _tag(text: object) -> Tag | None:
    try:
        return parse_tag(text) if isinstance(text, str) else None
    except TagInvalid:
        return None


def _entry(value: object) -> Digest | None:
    digest = value.get("digest") if isinstance(value, dict) else None
    try:
        return Digest.parse(digest) if isinstance(digest, str) else None
    except DigestInvalid:
        return None
