"""What containerd's config.toml says of registries and of the pause image; it is only read here."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from distserver.nodes.node import Node, NodeError

FILE = "/etc/containerd/config.toml"
CERTS = "/etc/containerd/certs.d"
OLD, NEW = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"
"""The plugin that pulls images: in files of version 2, and of version 3 (containerd 2 alone)."""
MAX_IMPORTS = 100


@dataclass(frozen=True, slots=True)
class ContainerdConfig:
    """What matters here of a config.toml with all that it imports.

    there        whether there is such a file
    version      of the file's format
    config_path  directory of the hosts.toml files; "" = none is set
    pause        the image of every pod's sandbox; "" = that of this containerd version
    mirrors      old keys for mirrors are set, beside which config_path may not be
    without_cri  the part that Kubernetes speaks to is switched off
    """

    there: bool = False
    version: int = 1
    config_path: str = ""
    pause: str = ""
    mirrors: bool = False
    without_cri: bool = False

    @property
    def missing(self) -> str:
        """The lines that make containerd look at the hosts.toml files."""
        plugin = NEW if self.version >= 3 else OLD
        return f'[plugins."{plugin}".registry]\n  config_path = "{CERTS}"\n'


MINIMAL = f"version = 2\n\n{ContainerdConfig(version=2).missing}".encode()
"""A whole config.toml, for containerd 1.5 and later: all else is as built in."""


def read_config(node: Node, file: str = FILE) -> ContainerdConfig:
    """Read a config.toml and its imports. Raises: NodeError, OSError."""
    found = list(_documents(node, file))
    if not found:
        return ContainerdConfig()
    made = ContainerdConfig(there=True, version=int(found[0].get("version") or 1))
    for document in found:
        made = _with(made, document)
    return made


def _documents(node: Node, file: str) -> Iterator[Mapping[str, Any]]:
    data = node.read(file)
    if data is None:
        return
    document = _parse(file, data)
    yield document
    patterns = [text for text in document.get("imports", ()) if isinstance(text, str)]
    for path in [path for text in patterns for path in _matches(node, file, text)][:MAX_IMPORTS]:
        if path != file and (data := node.read(path)) is not None:
            yield _parse(path, data)


def _matches(node: Node, file: str, pattern: str) -> Iterator[str]:
    full = pattern if pattern.startswith("/") else f"{file.rpartition('/')[0]}/{pattern}"
    return node.glob("/", full.lstrip("/"))


def _parse(file: str, data: bytes) -> Mapping[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except ValueError as exc:
        raise NodeError(f"{file}: {exc}") from exc


def _with(config: ContainerdConfig, document: Mapping[str, Any]) -> ContainerdConfig:
    """Lay a document over what the earlier ones said."""
    old = _table(document, "plugins", OLD)
    images = _table(document, "plugins", NEW)
    registries = [_table(old, "registry"), _table(images, "registry")]
    paths = [_text(registry.get("config_path")) for registry in registries]
    pauses = [
        _text(old.get("sandbox_image")),
        _text(_table(images, "pinned_images").get("sandbox")),
    ]
    disabled = document.get("disabled_plugins", ())
    return ContainerdConfig(
        there=True,
        version=config.version,
        config_path=paths[1] or paths[0] or config.config_path,
        pause=pauses[1] or pauses[0] or config.pause,
        mirrors=config.mirrors or any(_has_mirrors(registry) for registry in registries),
        without_cri=config.without_cri or "cri" in disabled or OLD in disabled,
    )


def _has_mirrors(registry: Mapping[str, Any]) -> bool:
    with_tls = any("tls" in _table(one) for one in _table(registry, "configs").values())
    return bool(registry.get("mirrors")) or with_tls


def _table(value: Any, *keys: str) -> Mapping[str, Any]:
    """Go down through tables; what is none counts as empty."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
