"""regctl: image copy in and out, tags, artifacts that refer to an image."""

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
KIND = "application/vnd.example.sbom"


@pytest.fixture
def regctl(server: Server, tmp_path: Path) -> Client:
    client = Client("regctl", tmp_path / "home")
    client("registry", "set", "--tls", "disabled", server.host)
    return client


def test_copy(server: Server, image: Image, regctl: Client, tmp_path: Path, show: Show) -> None:
    repository = f"regctl/{image.family.name}"
    there = f"{server.host}/{repository}:v1"
    regctl("image", "copy", f"ocidir://{image.directory}:v1", there)
    assert holds(server, repository, image)
    assert regctl("image", "digest", there) == image.digest
    regctl("image", "copy", there, f"ocidir://{tmp_path / 'pulled'}:v1")
    assert regctl("image", "digest", f"ocidir://{tmp_path / 'pulled'}:v1") == image.digest
    assert repository in regctl("repo", "ls", server.host).split()
    regctl("tag", "delete", there)
    assert digest_of(server, repository) == ""
    show("regctl", f"copy in and out, digest, list, tag delete, {image.family.name}")


def test_referrers(server: Server, image: Image, seed: str, regctl: Client) -> None:
    here = f"{server.host}/regctl/refers-{image.family.name}"
    there = f"{server.host}/regctl/referred-{image.family.name}"
    regctl("image", "copy", f"{seed}:v1", f"{here}:v1")
    put = ("artifact", "put", "--artifact-type", KIND, "--subject", f"{here}:v1")
    regctl(*put, stdin="{}")
    regctl("image", "copy", "--referrers", f"{here}:v1", f"{there}:v1")
    found = [
        json.loads(regctl("artifact", "list", "--format", "{{json .}}", f"{name}:v1"))
        for name in (here, there)
    ]
    first, second = ([d["digest"] for d in listed["descriptors"]] for listed in found)
    assert len(first) == 1
    assert first == second
