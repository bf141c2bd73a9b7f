"""containerd: certs.d/_default/hosts.toml for all registries, and config.toml that leads to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from distserver.nodes.endpoints import Endpoint
from distserver.nodes.node import Node, NodeError
from distserver.nodes.plan import HEAD, File, Plan, Wish
from distserver.nodes.runtimes import hosts_toml
from distserver.nodes.runtimes.containerd_config import (
    CERTS,
    FILE,
    MINIMAL,
    ContainerdConfig,
    read_config,
)

DEFAULT = "_default"
CA = "distserver-ca.crt"


class Containerd:
    """containerd as a package installs it; k3s and RKE2 have one of their own."""

    name = family = "containerd"
    restart = "systemctl restart containerd"

    def plan(self, wish: Wish, node: Node) -> Plan:
        """Write hosts.toml; config.toml only where there is none."""
        config = read_config(node)
        certs = _certs(config)
        text = hosts_toml.render(wish, f"../{CA}").encode()
        files = [File(f"{certs}/{CA}", wish.ca)] if wish.secured else []
        files += [File(f"{certs}/{name}/hosts.toml", text) for name in (DEFAULT, *wish.registries)]
        notes = [*_config_notes(config), *self._own_ways(wish, node, certs)]
        if not config.there or node.read(FILE) == MINIMAL:
            files.append(File(FILE, MINIMAL))
        return Plan(tuple(files), tuple(notes), restart=not config.there)

    def files(self, node: Node) -> Sequence[str]:
        """Return config.toml and every hosts.toml."""
        hosts = node.glob(_certs(read_config(node)), "*/hosts.toml")
        return [path for path in (FILE, *hosts) if node.exists(path)]

    def endpoints(self, node: Node) -> Sequence[Endpoint]:
        """Return the hosts of _default, or else of all registries that have their own."""
        certs = _certs(read_config(node))
        default = f"{certs}/{DEFAULT}/hosts.toml"
        paths = [default] if node.exists(default) else node.glob(certs, "*/hosts.toml")
        return tuple(dict.fromkeys(one for path in paths for one in _read(node, path)))

    def installed(self, node: Node) -> bool:
        """By its configuration or its program."""
        return any(map(node.exists, ("/etc/containerd", "/usr/bin/containerd")))

    def _own_ways(self, wish: Wish, node: Node, certs: str) -> Iterator[str]:
        """What other hosts.toml files take from _default."""
        for path in node.glob(certs, "*/hosts.toml"):
            registry = path.split("/")[-2]
            if registry in (DEFAULT, *wish.registries):
                continue
            if not (node.read(path) or b"").startswith(HEAD.encode()):
                yield (
                    f"{path} is there: for {registry} it wins over {DEFAULT}. "
                    f"--registry {registry} replaces it."
                )


def _certs(config: ContainerdConfig) -> str:
    """The directory that containerd looks at first."""
    return config.config_path.split(":")[0].rstrip("/") or CERTS


def _config_notes(config: ContainerdConfig) -> Iterator[str]:
    if config.without_cri:
        yield f"{FILE} switches cri off (disabled_plugins): remove that, or no kubelet can use it."
    if not config.there or config.config_path:
        return
    yield (
        f"TO DO: {FILE} sets no config_path. containerd 2.2 and later look into {CERTS} all the "
        f"same; for all others add these lines, then `{Containerd.restart}`:\n\n{config.missing}"
    )
    if config.version < 2:
        yield f"TO DO: {FILE} has no version yet: `version = 2` has to be its first line."
    if config.mirrors:
        yield (
            f"TO DO: first remove registry.mirrors and registry.configs…tls from {FILE}: beside "
            "config_path containerd refuses them, and kubelet has no runtime then."
        )


def _read(node: Node, path: str) -> Sequence[Endpoint]:
    try:
        return hosts_toml.read((node.read(path) or b"").decode())
    except ValueError as exc:
        raise NodeError(f"{path}: {exc}") from exc
