"""containerd as a node of a cluster has it: mirrors by hosts.toml, pulls by CRI and by ctr."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from cri_api.v1 import api_pb2, api_pb2_grpc

from tests.clients.run import Client, daemon

PULL_SECONDS = 120.0
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
class Node:
    """A running containerd.

    ctr   its command-line client, in the namespace of Kubernetes
    root  directory of its socket c.sock, its certs.d and all its state
    """

    ctr: Client
    root: Path

    @property
    def certs(self) -> str:
        """Directory of the hosts.toml files, for ctr's --hosts-dir."""
        return str(self.root / "certs.d")

    def write_hosts(self, host: str, text: str) -> None:
        """Write the hosts.toml of a registry, or of `_default`; it is read at each pull."""
        directory = self.root / "certs.d" / host
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "hosts.toml").write_text(text)

    def pull(self, image: str, seconds: float = PULL_SECONDS) -> list[str]:
        """Pull by CRI; return the repository digests it has then. Raises: grpc.RpcError."""
        spec = api_pb2.ImageSpec(image=image)
        with grpc.insecure_channel(f"unix://{self.root / 'c.sock'}") as channel:
            service = api_pb2_grpc.ImageServiceStub(channel)
            pulled = service.PullImage(api_pb2.PullImageRequest(image=spec), timeout=seconds)
            found = service.ImageStatus(
                api_pb2.ImageStatusRequest(image=api_pb2.ImageSpec(image=pulled.image_ref)),
                timeout=seconds,
            )
            return list(found.image.repo_digests)

    def forget(self) -> None:
        """Remove all images and their content, so that the next pull asks for everything."""
        if names := self.ctr("images", "list", "--quiet").split():
            self.ctr("images", "remove", "--sync", *names)


def mirror(url: str) -> str:
    """A hosts.toml that sends all pulls to a server of ours, and nothing anywhere else."""
    return f'server = "{url}"\n[host."{url}"]\n  capabilities = ["pull", "resolve"]\n'


@contextmanager
def containerd(root: Path, hosts: Mapping[str, str]) -> Iterator[Node]:
    """Run a containerd until left; hosts = text of hosts.toml by registry, or `_default`."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "config.toml").write_text(_CONFIGURATION.format(root=root))
    ctr = Client("ctr", root / "home", "--address", str(root / "c.sock"), "--namespace", "k8s.io")
    node = Node(ctr, root)
    for host, text in hosts.items():
        node.write_hosts(host, text)
    command = ("containerd", "--config", str(root / "config.toml"))
    with daemon(root, lambda: ctr.attempt("version").returncode == 0, *command):
        yield node
