"""containerd: by ctr with all architectures both ways, and by CRI as kubelet pulls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cri_api.v1 import api_pb2

from tests.clients.conftest import Show
from tests.clients.containerd import PULL_SECONDS, Containerd, mirrored, running_containerd
from tests.clients.registry import holds
from tests.components.images import Image
from tests.live import Server

pytestmark = pytest.mark.client


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Containerd]:
    with running_containerd(tmp_path_factory.mktemp("c")) as running:
        running.hosts(server.host, mirrored(server.url, server.url))
        yield running


def test_ctr(server: Server, image: Image, seed: str, containerd: Containerd, show: Show) -> None:
    """All architectures pulled, and pushed from containerd's own store to another repository."""
    ctr = containerd.ctr
    options = ("--plain-http", "--all-platforms", "--snapshotter", "native")
    ctr("images", "pull", *options, f"{seed}:v1")
    line = [row for row in ctr("images", "list").splitlines() if row.startswith(seed)]
    assert image.digest in line[0]
    repository = f"ctr/{image.family.name}"
    there = f"{server.host}/{repository}:v1"
    ctr("images", "push", "--plain-http", there, f"{seed}:v1")
    assert holds(server, repository, image)
    show("containerd by ctr", f"pull and push of a multi-arch image, {image.family.name}")


def test_cri(image: Image, seed: str, containerd: Containerd, show: Show) -> None:
    pulled = containerd.pull(f"{seed}:v1")
    answer = containerd.service.ListImages(api_pb2.ListImagesRequest(), timeout=PULL_SECONDS)
    found = {entry.id: entry for entry in answer.images}[pulled]
    assert f"{seed}@{image.digest}" in found.repo_digests
    containerd.forget(f"{seed}:v1", [])
    show("containerd by CRI", f"pull of a multi-arch image, {image.family.name}")
