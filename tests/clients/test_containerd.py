"""containerd: by ctr with all architectures both ways, and by CRI as kubelet pulls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from cri_api.v1 import api_pb2, api_pb2_grpc

from tests.clients.conftest import Show
from tests.clients.registry import holds
from tests.clients.run import Client, daemon
from tests.components.images import Image
from tests.live import Server

pytestmark = pytest.mark.client
PULL_SECONDS = 90
_CONFIGURATION = """\
version = 2
root = "{root}/root"
state = "{root}/state"
oom_score = 0
[grpc]
  address = "{root}/c.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{root}/certs.d"
"""


@dataclass(frozen=True)
class Containerd:
    """A containerd of our own.

    ctr   its command-line client
    root  directory of its socket c.sock and all its state
    """

    ctr: Client
    root: Path


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Containerd]:
    root = tmp_path_factory.mktemp("c")
    (root / "config.toml").write_text(_CONFIGURATION.format(root=root))
    hosts = root / "certs.d" / server.host
    hosts.mkdir(parents=True)
    (hosts / "hosts.toml").write_text(f'server = "{server.url}"\n')
    ctr = Client("ctr", root / "home", "--address", str(root / "c.sock"), "--namespace", "test")
    command = ("containerd", "--config", str(root / "config.toml"))
    with daemon(root, lambda: ctr.attempt("version").returncode == 0, *command):
        yield Containerd(ctr, root)


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
    with grpc.insecure_channel(f"unix://{containerd.root / 'c.sock'}") as channel:
        service = api_pb2_grpc.ImageServiceStub(channel)
        spec = api_pb2.ImageSpec(image=f"{seed}:v1")
        pulled = service.PullImage(api_pb2.PullImageRequest(image=spec), timeout=PULL_SECONDS)
        answer = service.ListImages(api_pb2.ListImagesRequest(), timeout=PULL_SECONDS)
        found = {entry.id: entry for entry in answer.images}[pulled.image_ref]
        assert f"{seed}@{image.digest}" in found.repo_digests
        service.RemoveImage(api_pb2.RemoveImageRequest(image=spec), timeout=PULL_SECONDS)
    show("containerd by CRI", f"pull of a multi-arch image, {image.family.name}")
