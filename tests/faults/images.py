"""Small images for fault tests: made from a seed, pushed and pulled over HTTP or in process."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests
from flask.testing import FlaskClient

from tests.live import Server

TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Answer:
    """What a request came to; whole is False when the body ended before its announced length."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True

    @property
    def error(self) -> str:
        """Code of the first error of a spec-shaped body; the body must be one."""
        errors = json.loads(self.body)["errors"]
        assert errors, self
        assert {"code", "message"} <= set(errors[0]), self
        return str(errors[0]["code"])


Call = Callable[..., Answer]
"""(method, path, data=b"", **headers) -> Answer"""


@dataclass(frozen=True)
class Image:
    """An image of a config and one layer."""

    config: bytes
    layer: bytes
    manifest: bytes

    @property
    def blobs(self) -> tuple[bytes, bytes]:
        return self.config, self.layer

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def make_image(seed: object, size: int = 1000) -> Image:
    """Make an image whose layer has size bytes; another seed gives other digests throughout."""
    layer = random.Random(f"layer {seed}").randbytes(size)
    config = json.dumps({"architecture": "amd64", "os": "linux", "seed": str(seed)}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": TYPE,
        "config": _descriptor(CONFIG_TYPE, config),
        "layers": [_descriptor(LAYER_TYPE, layer)],
    }
    return Image(config, layer, json.dumps(manifest).encode())


def live(server: Server) -> Call:
    """Requests to a running server, each on a connection of its own."""

    def call(method: str, path: str, data: bytes = b"", **headers: str) -> Answer:
        spelled = {name.replace("_", "-"): value for name, value in headers.items()}
        spelled.setdefault("Connection", "close")
        with server.request(method, path, data=data, headers=spelled, stream=True) as response:
            try:
                body, whole = response.content, True
            except (requests.exceptions.ChunkedEncodingError, requests.ConnectionError):
                body, whole = b"", False
            return Answer(response.status_code, response.headers, body, whole)

    return call


def in_process(client: FlaskClient) -> Call:
    """Requests to an application in this process."""

    def call(method: str, path: str, data: bytes = b"", **headers: str) -> Answer:
        spelled = {name.replace("_", "-"): value for name, value in headers.items()}
        with client.open(path, method=method, data=data, headers=spelled) as response:
            return Answer(response.status_code, dict(response.headers), response.get_data())

    return call


def push_blob(call: Call, name: str, data: bytes) -> Answer:
    """Push a blob in one request."""
    return call("POST", f"/v2/{name}/blobs/uploads/?digest={digest_of(data)}", data)


def push_manifest(call: Call, name: str, tag: str, data: bytes) -> Answer:
    return call("PUT", f"/v2/{name}/manifests/{tag}", data, Content_Type=TYPE)


def push(call: Call, name: str, tag: str, image: Image) -> None:
    """Push an image; every step must be acknowledged."""
    for blob in image.blobs:
        assert_status(push_blob(call, name, blob), 201)
    assert_status(push_manifest(call, name, tag, image.manifest), 201)


def assert_pulls(call: Call, name: str, reference: str, image: Image) -> None:
    """The image pulls whole: manifest and blobs, each with the right bytes."""
    answer = call("GET", f"/v2/{name}/manifests/{reference}")
    assert_status(answer, 200)
    assert answer.body == image.manifest
    for blob in image.blobs:
        answer = call("GET", f"/v2/{name}/blobs/{digest_of(blob)}")
        assert_status(answer, 200)
        assert answer.body == blob


def assert_status(answer: Answer, *wanted: int) -> None:
    """One of these; an error has the spec's shape."""
    assert answer.status in wanted, (answer.status, answer.body)
    if answer.status >= 400 and answer.body:
        assert answer.error


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}
