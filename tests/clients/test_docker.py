"""Docker Engine: pull, push, a manifest list, login, with a dockerd of the test's own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

import pytest

from tests.clients.conftest import NAME, PASSWORD, Show
from tests.clients.engine import engine
from tests.clients.registry import digest_of
from tests.clients.run import Client
from tests.components.images import DOCKER, Image
from tests.live import Server

pytestmark = pytest.mark.client
_PUSHED = re.compile(r"digest: (sha256:[0-9a-f]{64})")


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The docker command, with an engine of its own."""
    with engine(tmp_path_factory.mktemp("docker"), {}) as client:
        yield client


def test_pull_and_push(server: Server, image: Image, seed: str, docker: Client, show: Show) -> None:
    docker("pull", "--quiet", f"{seed}:v1")
    found = json.loads(docker("image", "inspect", f"{seed}:v1"))[0]
    assert f"{seed}@{image.digest}" in found["RepoDigests"]
    assert found["Architecture"] == "amd64"
    repository = f"docker/{image.family.name}"
    there = f"{server.host}/{repository}:v1"
    docker("tag", f"{seed}:v1", there)
    pushed = _PUSHED.search(docker("push", there))
    assert pushed
    assert digest_of(server, repository) == pushed[1]
    docker("rmi", "--force", found["Id"])
    docker("pull", "--quiet", f"{server.host}/{repository}@{pushed[1]}")
    show("docker engine", f"pull, push, pull back of a multi-arch image, {image.family.name}")


def test_other_architecture(image: Image, seed: str, docker: Client) -> None:
    child = image.children["arm64"]
    docker("pull", "--quiet", f"{seed}@{child}")
    found = json.loads(docker("image", "inspect", f"{seed}@{child}"))[0]
    assert found["Architecture"] == "arm64"


def test_manifest_list(
    server: Server, images: Mapping[str, Image], seeds: Mapping[str, str], docker: Client
) -> None:
    """A list that docker makes of the seed's manifests refers to the same manifests."""
    there = f"{server.host}/docker/list:v1"
    children = images[DOCKER.name].children
    parts = [f"{seeds['docker']}@{child}" for child in children.values()]
    docker("manifest", "create", "--insecure", there, *parts)
    docker("manifest", "push", "--insecure", there)
    for child in children.values():
        assert digest_of(server, "docker/list", child) == child


def test_login(guarded: Server, seeds: Mapping[str, str], docker: Client) -> None:
    there = f"{guarded.host}/app:v1"
    docker("pull", "--quiet", f"{seeds['docker']}:v1")
    docker("tag", f"{seeds['docker']}:v1", there)
    assert docker.attempt("push", there).returncode != 0
    docker("login", "--username", NAME, "--password-stdin", guarded.host, stdin=PASSWORD)
    docker("push", there)
    assert digest_of(guarded, "app") != ""
