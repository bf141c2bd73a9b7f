"""The container runtimes: which files make a node pull through us. One file a family."""

from __future__ import annotations

from collections.abc import Mapping

from distserver.nodes.plan import Runtime
from distserver.nodes.runtimes.containerd import Containerd
from distserver.nodes.runtimes.containers import Containers
from distserver.nodes.runtimes.docker import Docker
from distserver.nodes.runtimes.rancher import Rancher

RUNTIMES: Mapping[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        Containerd(),
        Rancher("k3s"),
        Rancher("rke2"),
        Containers("cri-o", "systemctl reload crio", ("/etc/crio", "/usr/bin/crio")),
        Containers("podman", "", ("/usr/bin/podman",)),
        Docker(),
    )
}
