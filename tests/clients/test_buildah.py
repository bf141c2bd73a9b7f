"""buildah: build from scratch, push, pull, a manifest list, in storage below tmp_path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import Show
from tests.clients.registry import digest_of
from tests.clients.run import Client, unmount
from tests.components.images import Image
from tests.live import Server

pytestmark = pytest.mark.client
PLAIN = "--tls-verify=false"


@pytest.fixture
def buildah(tmp_path: Path) -> Iterator[Client]:
    store = ("--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "run"))
    yield Client("buildah", tmp_path / "home", *store, "--storage-driver", "vfs")
    unmount(tmp_path)


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_build_and_push(server: Server, buildah: Client, tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_bytes(b"content")
    container = buildah("from", "scratch")
    buildah("add", container, str(tmp_path / "file"), "/file")
    buildah("commit", "--format", kind, "--timestamp", "0", container, "built")
    there = f"{server.host}/buildah/built-{kind}:v1"
    buildah("push", PLAIN, "--digestfile", str(tmp_path / "pushed"), "built", f"docker://{there}")
    assert digest_of(server, f"buildah/built-{kind}") == (tmp_path / "pushed").read_text()
    buildah("rmi", "--all", "--force")
    buildah("pull", PLAIN, there)


def test_multi_arch(server: Server, image: Image, seed: str, buildah: Client, show: Show) -> None:
    for architecture in image.children:
        buildah("pull", PLAIN, "--arch", architecture, f"{seed}:v1")
    repository = f"buildah/list-{image.family.name}"
    buildah("manifest", "create", "many")
    buildah("manifest", "add", "--all", PLAIN, "many", f"docker://{seed}:v1")
    kind = "oci" if image.family.name == "oci" else "v2s2"
    there = f"docker://{server.host}/{repository}:v1"
    buildah("manifest", "push", "--all", "--format", kind, PLAIN, "many", there)
    for child in image.children.values():
        assert digest_of(server, repository, child) == child
    show("buildah", f"pull of both architectures, push of a list, {image.family.name}")
