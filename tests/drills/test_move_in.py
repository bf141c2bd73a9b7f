"""From docker-registry to distserver: its directory is loaded, and every tag and digest pulls."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.clients.registry import digest_of
from tests.clients.run import Client
from tests.components.images import DOCKER, OCI, build
from tests.drills.commands import Ours
from tests.figures import record
from tests.links.images import make_image
from tests.links.upstream import Upstream, docker_registry
from tests.live import Server, running, start_server

pytestmark = pytest.mark.client
IMAGES = 50


def test_every_tag_and_every_digest(tmp_path: Path) -> None:
    crane = Client("crane", tmp_path / "home", "--insecure")
    base, wanted = make_image(tmp_path / "images", 300_000, "base"), {}
    with docker_registry(tmp_path / "registry") as host:
        old = Upstream(host)
        for number in range(IMAGES - 2):
            made = make_image(tmp_path / "images", 20_000 + 512 * number, number, base)
            # Every tenth is pushed over the one before it, which is left with its digest alone.
            name, tag = f"team/app{number % 7}", f"v{number - (number % 10 == 9)}"
            old.push(made, name, tag)
            wanted[f"{name}@{made.digest}"] = made.digest
            wanted[f"{name}:{tag}"] = made.digest
        for family in (OCI, DOCKER):
            index = build(tmp_path / family.name, family)
            crane("push", str(index.directory), f"{host}/multi/{family.name}:v1")
            wanted |= {f"multi/{family.name}@{d}": d for d in index.children.values()}
            wanted[f"multi/{family.name}:v1"] = index.digest
    ours = Ours(tmp_path / "ours")
    loaded = ours.do("load", tmp_path / "registry" / "root")
    assert loaded["failed"] == []
    with running(start_server(ours.directory, "--workers", "1", "--offline")) as server:
        for name, digest in wanted.items():
            assert crane("digest", f"{server.host}/{name}") == digest
            _pull(server, *name.partition("@" if "@" in name else ":")[::2])
    assert ours.do("load", tmp_path / "registry" / "root")["written_bytes"] == 0
    record(
        "Moving in",
        f"docker-registry with {IMAGES} images; its directory is loaded",
        "every tag and every digest pulls, as it was",
        f"{len(wanted)} of {len(wanted)} references pulled whole",
    )


def _pull(server: Server, repository: str, reference: str) -> None:
    """Pull an image, or the members of an index; every byte must have its digest."""
    assert digest_of(server, repository, reference)
    manifest = server.request("GET", f"/v2/{repository}/manifests/{reference}").json()
    for member in manifest.get("manifests", ()):
        _pull(server, repository, member["digest"])
    for part in [manifest["config"], *manifest["layers"]] if "config" in manifest else ():
        body = server.request("GET", f"/v2/{repository}/blobs/{part['digest']}").content
        assert "sha256:" + hashlib.sha256(body).hexdigest() == part["digest"]
