"""oras: copy of images, artifacts, attach, discover, copy with referrers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients.conftest import Show
from tests.clients.registry import digest_of, holds
from tests.clients.run import Client
from tests.components.images import Image
from tests.live import Server

pytestmark = pytest.mark.client
PLAIN = "--plain-http"
BOTH = ("--from-plain-http", "--to-plain-http")
KIND = "application/vnd.example.sbom"


@pytest.fixture
def oras(tmp_path: Path) -> Client:
    return Client("oras", tmp_path / "home")


def _referrers(oras: Client, name: str) -> list[str]:
    found = json.loads(oras("discover", PLAIN, "--format", "json", "--artifact-type", KIND, name))
    return [referrer["digest"] for referrer in found["referrers"]]


def test_copy(server: Server, image: Image, oras: Client, tmp_path: Path) -> None:
    repository = f"oras/{image.family.name}"
    there = f"{server.host}/{repository}:v1"
    oras("cp", "--from-oci-layout", "--to-plain-http", f"{image.directory}:v1", there)
    assert holds(server, repository, image)
    oras("cp", "--from-plain-http", "--to-oci-layout", there, f"{tmp_path / 'pulled'}:v1")
    assert oras("resolve", "--oci-layout", f"{tmp_path / 'pulled'}:v1") == image.digest
    assert oras("repo", "tags", PLAIN, f"{server.host}/{repository}") == "v1"


def test_attach_and_discover(
    server: Server, image: Image, seed: str, oras: Client, show: Show
) -> None:
    """What is attached to an image is found, and travels with a recursive copy."""
    here = f"{server.host}/oras/attach-{image.family.name}"
    there = f"{server.host}/oras/attached-{image.family.name}"
    oras("cp", *BOTH, f"{seed}:v1", f"{here}:v1")
    (oras.home / "sbom.json").write_text("{}")
    oras("attach", PLAIN, "--artifact-type", KIND, f"{here}:v1", "sbom.json")
    attached = _referrers(oras, f"{here}:v1")
    assert len(attached) == 1
    oras("cp", "--recursive", *BOTH, f"{here}:v1", f"{there}:v1")
    assert _referrers(oras, f"{there}:v1") == attached
    assert digest_of(server, f"oras/attached-{image.family.name}") == image.digest
    show("oras", f"copy, attach, discover, recursive copy, {image.family.name}")


def test_artifact(server: Server, oras: Client) -> None:
    content = b"any file" * 1000
    (oras.home / "file.bin").write_bytes(content)
    there = f"{server.host}/oras/file:v1"
    oras("push", PLAIN, "--artifact-type", KIND, there, "file.bin")
    (oras.home / "file.bin").unlink()
    oras("pull", PLAIN, there)
    assert (oras.home / "file.bin").read_bytes() == content
