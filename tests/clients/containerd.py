"""A containerd of a test's own: its daemon, its ctr, and its CRI as kubelet speaks to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from cri_api.v1 import api_pb2, api_pb2_grpc

from tests.clients.run import Client, daemon

PULL_SECONDS = 120.0
PAUSE = "registry.k8s.io/pause:3.10"
_COMMON = """\
root = "{root}/root"
state = "{root}/state"
oom_score = 0
[grpc]
  address = "{root}/c.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
"""
_CRI_1 = """\
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{root}/certs.d"
"""
_CRI_2 = """\
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "native"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{root}/certs.d"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux"
  snapshotter = "native"
"""


def mirrored(mirror: str, server: str) -> str:
    """Text of a hosts.toml: pull from a mirror's URL, then from the server's.

    containerd 1.6 takes a file without a table [host] for damaged, and passes it over.
    """
    host = f'[host."{mirror}"]\n  capabilities = ["pull", "resolve"]\n'
    return f'server = "{server}"\n{host}'


@dataclass(frozen=True)
class Release:
    """A containerd that is installed.

    line           of its releases, as people call it
    programs       directory of containerd and ctr, with a slash; "" = those of the system
    configuration  text of its config.toml, but for the root
    """

    line: str
    programs: str
    configuration: str


_TOOLS = Path(__file__).parents[2] / ".tools"
DEBIAN = Release("1.6", "", f"version = 2\n{_COMMON}{_CRI_1}")
NEW = Release("2.2", f"{_TOOLS}/containerd2/bin/", f"version = 3\n{_COMMON}{_CRI_2}")


@dataclass(frozen=True)
class Containerd:
    """A running containerd.

    root     directory of its socket c.sock and all its state
    ctr      its command-line client, in the namespace of Kubernetes
    service  images by CRI
    """

    root: Path
    ctr: Client
    service: api_pb2_grpc.ImageServiceStub

    @property
    def certs(self) -> str:
        """Directory of the hosts.toml files, for ctr's --hosts-dir."""
        return str(self.root / "certs.d")

    @property
    def log(self) -> str:
        """All that the daemon has written so far."""
        return (self.root / "daemon.log").read_text(errors="replace")

    def hosts(self, registry: str, text: str) -> None:
        """Say where a registry's images are pulled from; `_default` is for all others."""
        directory = self.root / "certs.d" / registry
        directory.mkdir(parents=True, exist_ok=True)
        new = directory / "hosts.new"
        new.write_text(text)
        new.replace(directory / "hosts.toml")

    def pull(self, image: str, seconds: float = PULL_SECONDS) -> str:
        """Pull by CRI; return the image's id, the digest of its config. Raises: grpc.RpcError."""
        request = api_pb2.PullImageRequest(image=api_pb2.ImageSpec(image=image))
        return str(self.service.PullImage(request, timeout=seconds).image_ref)

    def pulled(self, image: str, seconds: float = PULL_SECONDS) -> list[str]:
        """Pull by CRI; return the repository digests it has then. Raises: grpc.RpcError."""
        spec = api_pb2.ImageSpec(image=self.pull(image, seconds))
        found = self.service.ImageStatus(api_pb2.ImageStatusRequest(image=spec), timeout=seconds)
        return list(found.image.repo_digests)

    def forget_all(self) -> None:
        """Remove all images and their content, so that the next pull asks for everything."""
        if names := self.ctr("images", "list", "--quiet").split():
            self.ctr("images", "remove", "--sync", *names)

    def forget(self, image: str, digests: Sequence[str]) -> None:
        """Remove an image and its content, so that the next pull asks for every byte again."""
        request = api_pb2.RemoveImageRequest(image=api_pb2.ImageSpec(image=image))
        self.service.RemoveImage(request, timeout=PULL_SECONDS)
        # What the collector has taken already is not there; the rest must go now.
        self.ctr.attempt("content", "rm", *digests)


@contextmanager
def running_containerd(
    root: Path, hosts: Mapping[str, str] | None = None, release: Release = DEBIAN
) -> Iterator[Containerd]:
    """Run a containerd that keeps everything in a directory.

    hosts  text of hosts.toml by registry, or `_default`
    """
    (root / "certs.d").mkdir(parents=True, exist_ok=True)
    (root / "config.toml").write_text(release.configuration.format(root=root, pause=PAUSE))
    socket = root / "c.sock"
    options = ("--address", str(socket), "--namespace", "k8s.io")
    ctr = Client(f"{release.programs}ctr", root / "home", *options)
    command = (f"{release.programs}containerd", "--config", str(root / "config.toml"))
    with (
        daemon(root, lambda: ctr.attempt("version").returncode == 0, *command),
        grpc.insecure_channel(f"unix://{socket}") as channel,
    ):
        made = Containerd(root, ctr, api_pb2_grpc.ImageServiceStub(channel))
        for registry, text in (hosts or {}).items():
            made.hosts(registry, text)
        yield made
