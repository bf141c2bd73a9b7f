"""What the checks look at; all of it is given, so that they can be tried on any node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from distserver.bundle.images import Image
from distserver.config import Config
from distserver.nodes.endpoints import Answer, Endpoint
from distserver.nodes.node import Node
from distserver.nodes.plan import Runtime
from distserver.nodes.runtimes import RUNTIMES
from distserver.proxy.upstream.connect import upstreams_of
from distserver.proxy.upstream.table import Upstreams

UNIT = "distserver.service"
ARCHIVE = "distserver-*.tar"
FOLDERS = (
    "/var/lib/rancher/k3s/agent/images",
    "/var/lib/rancher/rke2/agent/images",
    "/var/lib/distserver/images",
)
"""Where archives of images are imported at boot: by k3s, by RKE2, by our unit beside containerd."""

Ask = Callable[[Sequence[Endpoint], bytes], Mapping[Endpoint, Answer]]
"""(endpoints, PEM of an authority to trust) -> what they say"""


@dataclass(frozen=True, slots=True)
class Needed:
    """An image that shall start: platforms empty = that of the node."""

    image: Image
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """A node, a server on it, and the time.

    config     of the server; its paths are those of this machine, below the node's root
    known_id   the storage id that the node remembers; None = none yet
    ask        asks endpoints whether they answer
    platform   of the node, as linux/amd64
    now        wall-clock time, seconds since the epoch
    installed  when this program was installed, likewise
    own        host[:port] that mean the server itself
    endpoints  servers to look at beside those of the node's files
    """

    node: Node
    config: Config
    known_id: str | None
    ask: Ask
    platform: str
    now: float
    installed: float
    own: frozenset[str] = frozenset()
    endpoints: tuple[Endpoint, ...] = ()
    needed: tuple[Needed, ...] = ()

    @property
    def upstreams(self) -> Upstreams:
        """The registries that the server knows."""
        return upstreams_of(self.config)

    @property
    def serves(self) -> bool:
        """Whether a server of ours is meant to run on the node, as far as its files tell."""
        places = (
            "/etc/distserver/config.toml",
            "/var/lib/distserver",
            f"/etc/systemd/system/{UNIT}",
        )
        return any(map(self.node.exists, places)) or bool(self.archives)

    @property
    def unit_enabled(self) -> bool:
        """Whether systemd starts the server at boot."""
        places = ("/etc/systemd/system", "/usr/lib/systemd/system")
        targets = [path for place in places for path in self.node.glob(place, "*.wants")]
        return any(self.node.exists(f"{target}/{UNIT}") for target in targets)

    @property
    def archives(self) -> list[str]:
        """Archives of our own image that are imported at boot."""
        return [path for folder in FOLDERS for path in self.node.glob(folder, ARCHIVE)]

    @property
    def kubelet(self) -> bool:
        """Whether the node is one of Kubernetes."""
        places = ("/var/lib/kubelet", "/etc/kubernetes", "/etc/rancher/k3s", "/etc/rancher/rke2")
        return any(map(self.node.exists, places))

    @property
    def runtimes(self) -> Iterable[Runtime]:
        """What the node has."""
        return [one for one in RUNTIMES.values() if one.installed(self.node)]

    @property
    def uses_tls(self) -> bool:
        """Whether certificates, and so the clock, are in the way of a pull on the site."""
        endpoints = [one for runtime in self.runtimes for one in runtime.endpoints(self.node)]
        return bool(self.config.tls_cert) or any(not one.plain for one in endpoints)
