"""containerd: by ctr with all architectures both ways, and by CRI as kubelet pulls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.conftest import Show
from tests.clients.containerd import Containerd, running_containerd
from tests.clients.registry import holds
from tests.components.images import Image
from tests.live import Server

pytestmark = pytest.mark.client


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Containerd]:
    hosts = {server.host: f'server = "{server.url}"\n'}
    with running_containerd(tmp_path_factory.mktemp("c"), hosts) as running:
        yield running


def test_ctr(server: Server, image: Image, seed: str, node: Containerd, show: Show) -> None:
    """All architectures pulled, and pushed from containerd's own store to another repository."""
    options = ("--plain-http", "--all-platforms", "--snapshotter", "native")
    node.ctr("images", "pull", *options, f"{seed}:v1")
    line = [row for row in node.ctr("images", "list").splitlines() if row.startswith(seed)]
    assert image.digest in line[0]
    repository = f"ctr/{image.family.name}"
    there = f"{server.host}/{repository}:v1"
    node.ctr("images", "push", "--plain-http", there, f"{seed}:v1")
    assert holds(server, repository, image)
    node.forget_all()
    show("containerd by ctr", f"pull and push of a multi-arch image, {image.family.name}")


def test_cri(image: Image, seed: str, node: Containerd, show: Show) -> None:
    assert f"{seed}@{image.digest}" in node.pulled(f"{seed}:v1")
    node.forget_all()
    show("containerd by CRI", f"pull of a multi-arch image, {image.family.name}")
