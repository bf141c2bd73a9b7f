"""What the server holds, asked by plain requests: the judge of what the clients did."""

from __future__ import annotations

import hashlib

from tests.components.images import Image
from tests.live import Server

_ACCEPT = {
    "Accept": "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json,"
    " application/vnd.docker.distribution.manifest.list.v2+json,"
    " application/vnd.docker.distribution.manifest.v2+json"
}


def digest_of(server: Server, repository: str, reference: str = "v1") -> str:
    """Digest of what a tag or digest names, "" if it is absent; its bytes must agree."""
    path = f"/v2/{repository}/manifests/{reference}"
    answer = server.request("GET", path, headers=_ACCEPT)
    if answer.status_code == 404:
        return ""
    assert answer.status_code == 200, answer.text
    digest = "sha256:" + hashlib.sha256(answer.content).hexdigest()
    assert answer.headers["Docker-Content-Digest"] == digest
    return digest


def holds(server: Server, repository: str, image: Image, reference: str = "v1") -> bool:
    """Whether a repository holds the image whole: the same index, children and layers."""
    if digest_of(server, repository, reference) != image.digest:
        return False
    return all(
        digest_of(server, repository, child) == child and _parts(server, repository, image, child)
        for child in image.children.values()
    )


def _parts(server: Server, repository: str, image: Image, child: str) -> bool:
    manifest = image.manifest(child)
    for part in (manifest["config"], *manifest["layers"]):  # type: ignore[misc]
        answer = server.request("GET", f"/v2/{repository}/blobs/{part['digest']}")
        if "sha256:" + hashlib.sha256(answer.content).hexdigest() != part["digest"]:
            return False
    return True
