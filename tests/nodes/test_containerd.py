"""containerd whose one file is certs.d/_default/hosts.toml: it sends every registry to us."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.containerd import Containerd, mirrored, running_containerd
from tests.nodes.conftest import REPOSITORIES, Show, World, name_of

pytestmark = pytest.mark.client


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    with running_containerd(tmp_path_factory.mktemp("c")) as node:
        yield node


@pytest.fixture
def node(running: Containerd, world: World) -> Iterator[Containerd]:
    """A node without images whose only mirror is the server of this test."""
    running.hosts("_default", mirrored(world.server.server.url, world.server.server.url))
    yield running
    running.forget_all()


def test_cri(world: World, node: Containerd, show: Show) -> None:
    """As kubelet pulls: by tag, and by digest."""
    for registry, image in world.images.items():
        repository = f"{registry}/{REPOSITORIES[registry]}"
        assert f"{repository}@{image.digest}" in node.pulled(name_of(registry))
        node.forget_all()
        assert f"{repository}@{image.digest}" in node.pulled(f"{repository}@{image.digest}")
    show("containerd by CRI, _default/hosts.toml")


def test_ctr(world: World, node: Containerd, show: Show) -> None:
    options = ("--hosts-dir", node.certs, "--snapshotter", "native")
    for registry, image in world.images.items():
        node.ctr("images", "pull", *options, name_of(registry))
        assert image.digest in node.ctr("images", "list", f"name=={name_of(registry)}")
    show("containerd by ctr, _default/hosts.toml")
