"""Blobs and manifests for protocol tests, and a client of one repository."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import requests

from tests.live import Server

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY = b"{}"


def sha256(data: bytes) -> str:
    """Digest of data."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def sha512(data: bytes) -> str:
    """Digest of data with the other supported algorithm."""
    return "sha512:" + hashlib.sha512(data).hexdigest()


def descriptor(data: bytes, media_type: str = "application/vnd.oci.empty.v1+json") -> dict:
    """Descriptor of data."""
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}


def image(**fields: object) -> bytes:
    """Image manifest with the empty config and no layers; fields override."""
    base = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(EMPTY), "layers": []}
    return json.dumps({**base, **fields}).encode()


def index(*members: dict, **fields: object) -> bytes:
    """Index of members; fields override."""
    base = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(members)}
    return json.dumps({**base, **fields}).encode()


def code(answer: requests.Response) -> str:
    """Code of the only error of an answer, which must be a spec-shaped JSON body."""
    assert answer.headers["Content-Type"] == "application/json", answer.text
    (error,) = answer.json()["errors"]
    return error["code"]


@dataclass(frozen=True)
class Repository:
    """Requests to one repository; user = (name, password)."""

    server: Server
    name: str
    user: tuple[str, str] | None = None

    def ask(self, method: str, path: str, **options: object) -> requests.Response:
        """Send a request; path is within the repository, or begins with / or a scheme."""
        if not path.startswith("/") and "://" not in path:
            path = f"/v2/{self.name}/{path}"
        if self.user:
            options["auth"] = self.user
        if self.server.url.startswith("https"):
            options["verify"] = str(self.server.directory / "cert.pem")
        return self.server.request(method, path, **options)

    def get(self, path: str, **options: object) -> requests.Response:
        """GET within the repository."""
        return self.ask("GET", path, **options)

    def begin(self) -> str:
        """Open an upload session; return its path."""
        answer = self.ask("POST", "blobs/uploads/")
        assert answer.status_code == 202, answer.text
        return answer.headers["Location"]

    def patch(self, location: str, data: object, at: str | None = None) -> requests.Response:
        """Send a chunk with a Content-Range, if given."""
        headers = {"Content-Range": at} if at else {}
        return self.ask("PATCH", location, data=data, headers=headers)

    def close(self, location: str, digest: str, data: bytes = b"", **h: str) -> requests.Response:
        """Close a session with a last body."""
        return self.ask("PUT", location, params={"digest": digest}, data=data, headers=h)

    def push_blob(self, data: bytes, digest: str | None = None) -> str:
        """Push a blob; return its digest."""
        digest = digest or sha256(data)
        answer = self.close(self.begin(), digest, data)
        assert answer.status_code == 201, answer.text
        return digest

    def put(
        self, reference: str, body: bytes, media_type: str | None = MANIFEST, **options: object
    ) -> requests.Response:
        """PUT a manifest; media_type None = no Content-Type."""
        headers = {"Content-Type": media_type} if media_type else {}
        return self.ask("PUT", f"manifests/{reference}", data=body, headers=headers, **options)

    def push(self, reference: str, body: bytes | None = None, kind: str = MANIFEST) -> str:
        """Push an image and its empty config; return the manifest's digest."""
        self.push_blob(EMPTY)
        answer = self.put(reference, body or image(), kind)
        assert answer.status_code == 201, answer.text
        return answer.headers["Docker-Content-Digest"]
