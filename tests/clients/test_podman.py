"""podman: pull, push, a manifest list of its own, login. Its images are kept below tmp_path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import NAME, PASSWORD, Show
from tests.clients.podman import own_podman
from tests.clients.registry import digest_of
from tests.clients.run import Client
from tests.components.images import Image
from tests.live import Server

pytestmark = pytest.mark.client
PLAIN = "--tls-verify=false"


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Client]:
    with own_podman(tmp_path) as client:
        yield client


def test_pull_and_push(
    server: Server, image: Image, seed: str, podman: Client, tmp_path: Path, show: Show
) -> None:
    """Both architectures come; what podman says it pushed is what the server holds."""
    for architecture in image.children:
        podman("pull", PLAIN, "--arch", architecture, f"{seed}:v1")
        found = json.loads(podman("image", "inspect", f"{seed}:v1"))[0]
        assert found["Architecture"] == architecture
        assert f"{seed}@{image.digest}" in found["RepoDigests"]
    repository = f"podman/{image.family.name}"
    there = f"{server.host}/{repository}:v1"
    podman("push", PLAIN, "--digestfile", str(tmp_path / "pushed"), f"{seed}:v1", there)
    pushed = (tmp_path / "pushed").read_text()
    assert digest_of(server, repository) == pushed
    podman("rmi", "--all", "--force")
    podman("pull", PLAIN, "--arch", "arm64", f"{there.removesuffix(':v1')}@{pushed}")
    show("podman", f"pull of both architectures, push, pull back, {image.family.name}")


def test_manifest_list(server: Server, image: Image, seed: str, podman: Client) -> None:
    """A list that podman makes of a remote one refers to the same manifests."""
    repository = f"podman/list-{image.family.name}"
    podman("manifest", "create", "many")
    podman("manifest", "add", "--all", PLAIN, "many", f"docker://{seed}:v1")
    kind = "oci" if image.family.name == "oci" else "v2s2"
    there = f"docker://{server.host}/{repository}:v1"
    podman("manifest", "push", "--all", "--format", kind, PLAIN, "many", there)
    for child in image.children.values():
        assert digest_of(server, repository, child) == child


def test_login(guarded: Server, seeds: dict[str, str], podman: Client) -> None:
    podman("pull", PLAIN, f"{seeds['oci']}:v1")
    push = ("push", PLAIN, f"{seeds['oci']}:v1", f"{guarded.host}/app:v1")
    assert podman.attempt(*push).returncode != 0
    login = ("login", PLAIN, "--username", NAME, "--password-stdin", guarded.host)
    podman(*login, stdin=PASSWORD)
    podman(*push)
    assert digest_of(guarded, "app") != ""
