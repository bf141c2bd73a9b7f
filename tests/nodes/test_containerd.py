"""containerd whose one file is certs.d/_default/hosts.toml: it sends every registry to us."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.node import Node, containerd, mirror
from tests.nodes.conftest import REPOSITORIES, Show, World, name_of

pytestmark = pytest.mark.client


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with containerd(tmp_path_factory.mktemp("c"), {}) as node:
        yield node


@pytest.fixture
def node(running: Node, world: World) -> Iterator[Node]:
    """A node without images whose only mirror is the server of this test."""
    running.write_hosts("_default", mirror(world.server.server.url))
    yield running
    running.forget()


def test_cri(world: World, node: Node, show: Show) -> None:
    """As kubelet pulls: by tag, and by digest."""
    for registry, image in world.images.items():
        repository = f"{registry}/{REPOSITORIES[registry]}"
        assert f"{repository}@{image.digest}" in node.pull(name_of(registry))
        node.forget()
        assert f"{repository}@{image.digest}" in node.pull(f"{repository}@{image.digest}")
    show("containerd by CRI, _default/hosts.toml")


def test_ctr(world: World, node: Node, show: Show) -> None:
    options = ("--hosts-dir", node.certs, "--snapshotter", "native")
    for registry, image in world.images.items():
        node.ctr("images", "pull", *options, name_of(registry))
        assert image.digest in node.ctr("images", "list", f"name=={name_of(registry)}")
    show("containerd by ctr, _default/hosts.toml")
