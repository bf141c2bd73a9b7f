"""k3s and RKE2: registries.yaml, of which they make their containerd's hosts.toml at each start.

"*" stands for every registry that has no entry of its own. No `rewrite` is needed: the name of the
registry reaches us as `ns`. The registry itself is always tried last, unless the start option
disable-default-registry-endpoint is set (releases since January 2024; older ones pass over it).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from distserver.nodes.endpoints import Endpoint, endpoints_of
from distserver.nodes.node import Node
from distserver.nodes.plan import HEAD, File, Plan, Wish

_ENDPOINT = re.compile(r"""^\s*-\s*["']?(https?://[^"'\s#]+)""", re.MULTILINE)
ONLY = "disable-default-registry-endpoint: true\n"


@dataclass(frozen=True, slots=True)
class Rancher:
    """k3s or rke2, by its name in paths and units."""

    name: str

    @property
    def family(self) -> str:
        """Each has files of its own."""
        return self.name

    @property
    def restart(self) -> str:
        """Servers and agents have units of different names."""
        server = "k3s" if self.name == "k3s" else "rke2-server"
        return f"systemctl restart {server}    (on agents: {self.name}-agent)"

    def plan(self, wish: Wish, node: Node) -> Plan:
        """Write registries.yaml, and a start option if only we shall be asked."""
        files = [File(self._file, self._render(wish).encode(), _merge(self._render(wish)))]
        if wish.secured:
            files.append(File(self._ca, wish.ca))
        if wish.only:
            files.append(File(f"{self._etc}/config.yaml.d/distserver.yaml", (HEAD + ONLY).encode()))
        return Plan(tuple(files), tuple(_notes(wish, self.name)))

    def files(self, node: Node) -> Sequence[str]:
        """Return registries.yaml, and our start option."""
        both = (self._file, f"{self._etc}/config.yaml.d/distserver.yaml")
        return [path for path in both if node.exists(path)]

    def endpoints(self, node: Node) -> Sequence[Endpoint]:
        """Return every endpoint of the file, in order."""
        text = (node.read(self._file) or b"").decode(errors="replace")
        return endpoints_of(_ENDPOINT.findall(text))

    def installed(self, node: Node) -> bool:
        """By its configuration or its state."""
        return any(map(node.exists, (self._etc, f"/var/lib/rancher/{self.name}")))

    @property
    def _etc(self) -> str:
        return f"/etc/rancher/{self.name}"

    @property
    def _file(self) -> str:
        return f"{self._etc}/registries.yaml"

    @property
    def _ca(self) -> str:
        return f"{self._etc}/distserver-ca.crt"

    def _render(self, wish: Wish) -> str:
        mirrors = "".join(_mirror(name, wish) for name in ("*", *wish.registries))
        trusted = "".join(
            f'  "{one.host}":\n    tls:\n      ca_file: "{self._ca}"\n' for one in wish.secured
        )
        return f"{HEAD}mirrors:\n{mirrors}" + (f"configs:\n{trusted}" if trusted else "")


def _mirror(name: str, wish: Wish) -> str:
    endpoints = "".join(f'      - "{endpoint}"\n' for endpoint in wish.endpoints)
    return f'  "{name}":\n    endpoint:\n{endpoints}'


def _merge(text: str) -> str:
    return (
        "it is yours, perhaps with passwords: add these lines to it, or let --force replace it "
        f"(a backup is kept):\n\n{text.removeprefix(HEAD)}"
    )


def _notes(wish: Wish, name: str) -> Sequence[str]:
    if wish.only:
        return (
            f"{name} of January 2024 or later keeps to the endpoints then; older ones ask the "
            "registry itself last, whatever is written here.",
        )
    return ()
