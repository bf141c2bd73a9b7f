"""An upstream with one image, and ours before it: asked over its API, without processes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from distserver import app as application
from distserver.config import Config, UpstreamConfig
from distserver.oci.manifests import OCI_INDEX, OCI_MANIFEST
from distserver.proxy.upstream.mode import Mode
from tests.live import wait_for
from tests.proxy.scripted import Asked, Reply, Scripted, scripted

CONFIG, LAYER = b"{}", bytes(range(256)) * 1000
TAG = "/v2/up.site/team/app/manifests/v1"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(data: bytes, media_type: str = "application/x", **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


def image(*layers: bytes, **more: object) -> bytes:
    value = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(CONFIG)}
    return json.dumps({**value, "layers": [*map(descriptor, layers or (LAYER,))], **more}).encode()


def index(**members: bytes) -> bytes:
    """An index of manifests by architecture."""
    entries = [
        descriptor(data, OCI_MANIFEST, platform={"os": "linux", "architecture": name})
        for name, data in members.items()
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


@dataclass
class World:
    """A registry upstream, and ours before it.

    down       status that the upstream answers everything with, 0 = it works
    manifests  what it has in team/app, by tag and digest
    blobs      what it has in team/app, by digest
    """

    state: Path
    down: int = 0
    manifests: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    referrers: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    upstream: Scripted = field(init=False)
    ours: FlaskClient = field(init=False)
    app: Any = field(init=False)

    def tag(self, name: str, manifest: bytes) -> bytes:
        """Let a tag of the upstream name a manifest; return it."""
        self.manifests[name] = self.manifests[digest(manifest)] = manifest
        return manifest

    def script(self, asked: Asked) -> Reply:
        """The upstream."""
        if self.down:
            return self.down, {}, b""
        kind, _, rest = asked.path.removeprefix("/v2/team/app/").partition("/")
        if kind == "manifests" and rest in self.manifests:
            body = self.manifests[rest]
            head = {"Content-Type": json.loads(body)["mediaType"]}
            return 200, {**head, "Docker-Content-Digest": digest(body)}, body
        if kind == "blobs" and rest in self.blobs:
            return 200, {}, self.blobs[rest]
        if kind == "referrers" and rest in self.referrers:
            return 200, {}, json.dumps({"manifests": self.referrers[rest]}).encode()
        if kind == "tags":
            tags = sorted(name for name in self.manifests if ":" not in name)
            return 200, {}, json.dumps({"tags": tags}).encode()
        return 404, {}, b""

    def get(self, path: str, method: str = "GET", **more: Any) -> tuple[int, bytes, dict[str, str]]:
        """Ask ours."""
        with self.ours.open(path, method=method, **more) as response:
            return response.status_code, response.get_data(), dict(response.headers)

    def switch(self, mode: str | None) -> None:
        """Switch ours, as the operator does."""
        Mode(self.state, "online").switch(mode)

    def complete(self) -> None:
        """Begin completion in the background, and wait until nothing is left to do."""
        self.app.extensions["distserver.after_fork"]()
        wait_for(lambda: not list((self.state / "begun").glob("*/*/*.json")), 20, "completion")

    @property
    def gets(self) -> list[str]:
        """What the upstream was asked by GET, without what only completion asks."""
        paths = [asked.path for asked in self.upstream.asked if asked.method == "GET"]
        return [
            p for p in paths if "referrers" not in p and not p.endswith((".sig", ".att", ".sbom"))
        ]


@contextmanager
def world(directory: Path, table: UpstreamConfig | None = None, **config: Any) -> Iterator[World]:
    """Lend a world whose upstream has one image, team/app:v1, CONFIG and LAYER.

    table   more of the upstream's table
    config  more of ours, such as another storage
    """
    made = World(directory / "state")
    made.tag("v1", image())
    made.blobs = {digest(data): data for data in (CONFIG, LAYER)}
    with scripted(lambda asked: made.script(asked)) as made.upstream:
        default = UpstreamConfig(deny=("no/*",))
        full = replace(table or default, url=(made.upstream.url,), insecure=True)
        config.setdefault("storage", (str(directory / "storage"),))
        settings = Config(
            state=str(made.state), reserve_bytes=0, upstream={"up.site": full}, **config
        )
        application.initialise_storage(settings)
        made.app = application.create_app(settings)
        made.ours = made.app.test_client()
        yield made


def pull(world: World, prefix: str = "/v2/up.site/team/app", query: str = "") -> None:
    """Pull team/app:v1, every byte of it."""
    status, body, headers = world.get(f"{prefix}/manifests/v1{query}")
    assert (status, body) == (200, world.manifests["v1"])
    assert headers["Docker-Content-Digest"] == digest(world.manifests["v1"])
    for data in (CONFIG, LAYER):
        status, body, _ = world.get(f"{prefix}/blobs/{digest(data)}{query}")
        assert (status, body) == (200, data)
