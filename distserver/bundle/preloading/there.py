"""Brings images into another server: asks it for every byte, so that it fetches what it lacks.

Ordinary pulls, and each body is hashed. What the server holds already cannot be told from outside,
so all of it passes by; the server asks its upstream only for what is missing.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import requests

from distserver.bundle.images import Image, is_host
from distserver.bundle.preloading.plan import Failure, Plan, Top
from distserver.oci.digests import Digest
from distserver.oci.errors import DigestInvalid, ManifestInvalid
from distserver.oci.manifests import MAX_MANIFEST_BYTES, Descriptor, parse_manifest
from distserver.oci.names import Tag
from distserver.oci.references import Reference
from distserver.proxy.completion import signature_tags
from distserver.proxy.upstream.registry import ACCEPT
from distserver.proxy.upstream.table import Upstream, Upstreams
from distserver.registry.manifests import StoredManifest

CONNECT_SECONDS, SILENCE_SECONDS = 5.0, 60.0
"""The server itself gives an upstream 30 s of silence."""
PATIENCE_SECONDS = 60.0
READ_BYTES = 64 << 10
"""Of a body that breaks off, less than this is lost and read again."""
MAX_WORDS = 500
_PORT = re.compile(r".+_[0-9]{1,5}")


@dataclass(frozen=True)
class Everywhere(Upstreams):
    """Knows every host: which of them are upstreams, the server decides."""

    def find(self, host: str) -> Upstream | None:
        """See Upstreams.find."""
        unknown = is_host(host) or _PORT.fullmatch(host)
        return super().find(host) or (Upstream(host.lower(), ()) if unknown else None)


@dataclass
class _Reading:
    """A body so far."""

    hasher: Any
    size: int = 0


class There:
    """A Place (plan): a running server.

    url  http://HOST:PORT or https://…; who we are comes from ~/.netrc
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._sessions = threading.local()
        self._locks: dict[Digest, threading.Lock] = defaultdict(threading.Lock)
        self._readings: dict[Digest, _Reading] = {}
        self._whole: set[tuple[str, Digest]] = set()

    def top(self, image: Image) -> Top:
        """See Place.top. Of an image with both, the server is asked for the tag too, to hold it."""
        named = self._manifest(image.name, image.tag or image.reference)
        stored, note = named, named.warning
        if image.digest and named.digest != image.digest:
            note = f"its tag means {named.digest} there; only the digest was asked for"
            stored = self._manifest(image.name, image.digest)
        return Top(stored, note=note)

    def manifest(self, name: str, digest: Digest) -> StoredManifest:
        """See Place.manifest."""
        return self._manifest(name, digest)

    def said_of(self, name: str, stored: StoredManifest) -> Sequence[StoredManifest]:
        """See Place.said_of."""
        tags = map(Tag, signature_tags(stored.digest))
        references: list[Reference] = [*tags, *self._listed(name, stored.digest)]
        found = []
        for reference in references:
            with suppress(_Absent):
                found.append(self._manifest(name, reference))
        return found

    def missing(self, name: str, blobs: Collection[Descriptor]) -> list[Descriptor]:
        """See Place.missing: all that did not pass by in this run."""
        return [blob for blob in blobs if (name, blob.digest) not in self._whole]

    def bring(self, name: str, blob: Descriptor) -> None:
        """See Place.bring. What was read before a failure is not read again."""
        with self._locks[blob.digest]:
            if (name, blob.digest) in self._whole:
                return
            reading = self._readings.setdefault(blob.digest, _Reading(blob.digest.hasher()))
            try:
                self._read(f"/v2/{name}/blobs/{blob.digest}", blob, reading)
            except requests.RequestException as exc:
                raise _broken(exc) from exc
            self._readings.pop(blob.digest)
            if reading.hasher.hexdigest() != blob.digest.hex:
                raise Failure(f"the server's bytes are not those of {blob.digest}")
            self._whole.add((name, blob.digest))

    def arrived(self, name: str, blob: Descriptor) -> int:
        """See Place.arrived."""
        reading = self._readings.get(blob.digest)
        return reading.size if reading else 0

    def usable_bytes(self) -> int | None:
        """See Place.usable_bytes: the server looks after its own disk."""
        return None

    def finish(self, plan: Plan) -> None:
        """See Place.finish: the server did it."""

    def _read(self, path: str, blob: Descriptor, reading: _Reading) -> None:
        """Read on where the body stands. Raises: Failure, RequestException."""
        headers = {"Range": f"bytes={reading.size}-"} if reading.size else {}
        if reading.size >= blob.size > 0:
            return
        with self._ask(path, headers) as answer:
            if answer.status_code == 200:
                reading.hasher, reading.size = blob.digest.hasher(), 0
            for data in answer.iter_content(READ_BYTES):
                reading.hasher.update(data)
                reading.size += len(data)
        if reading.size != blob.size:
            self._readings.pop(blob.digest)
            raise Failure(f"{blob.digest} has {reading.size} bytes, not {blob.size}")

    def _manifest(self, name: str, reference: Reference) -> StoredManifest:
        body, headers = self._body(f"/v2/{name}/manifests/{reference}", ACCEPT)
        algorithm = reference.algorithm if isinstance(reference, Digest) else "sha256"
        digest, kind = Digest.of(body, algorithm), headers.get("Content-Type", "")
        if isinstance(reference, Digest) and digest != reference:
            raise Failure(f"the server's bytes are not those of {reference}")
        try:
            manifest = parse_manifest(body, kind)
        except ManifestInvalid as exc:
            raise Failure(f"what the server sends is no manifest: {exc.message}") from exc
        return StoredManifest(digest, manifest.media_type, body, headers.get("Warning", ""))

    def _listed(self, name: str, subject: Digest) -> list[Digest]:
        try:
            body, _ = self._body(f"/v2/{name}/referrers/{subject}", {})
        except _Absent:
            return []
        try:
            return [Digest.parse(entry["digest"]) for entry in json.loads(body)["manifests"]]
        except (ValueError, KeyError, TypeError, DigestInvalid) as exc:
            raise Failure("what the server sends is no list of referrers") from exc

    def _body(self, path: str, headers: dict[str, str]) -> tuple[bytes, Any]:
        try:
            with self._ask(path, headers) as answer:
                body = b""
                for data in answer.iter_content(READ_BYTES):
                    body += data
                    if len(body) > MAX_MANIFEST_BYTES:
                        raise Failure("the server sends more than a manifest may have")
                return body, answer.headers
        except requests.RequestException as exc:
            raise _broken(exc) from exc

    def _ask(self, path: str, headers: dict[str, str]) -> requests.Response:
        """Ask; the answer is good. Raises: Failure, RequestException."""
        if not hasattr(self._sessions, "session"):
            self._sessions.session = requests.Session()
        sent = {"Accept-Encoding": "identity", **headers}
        answer: requests.Response = self._sessions.session.get(
            self._url + path,
            headers=sent,
            stream=True,
            timeout=(CONNECT_SECONDS, SILENCE_SECONDS),
        )
        if answer.status_code in (200, 206):
            return answer
        with answer:
            raise _refusal(answer)


class _Absent(Failure):
    """The server said 404."""


def _refusal(answer: requests.Response) -> Failure:
    words = f"the server answers {answer.status_code}: {_message(answer)}"
    if answer.status_code == 404:
        return _Absent(words)
    if answer.status_code in (401, 403):
        return Failure(words)
    return Failure(words, PATIENCE_SECONDS)


def _message(answer: requests.Response) -> str:
    """What a registry's error says."""
    body = next(answer.iter_content(MAX_WORDS), b"")
    try:
        return str(json.loads(body)["errors"][0]["message"])
    except (ValueError, LookupError, TypeError):
        return answer.reason


def _broken(error: requests.RequestException) -> Failure:
    if isinstance(error, requests.exceptions.SSLError):
        return Failure(f"the server's certificate is not trusted (REQUESTS_CA_BUNDLE): {error}")
    kind = type(error).__name__
    return Failure(f"the server does not answer, or broke off ({kind})", PATIENCE_SECONDS)
