"""podman, CRI-O, buildah and skopeo: a drop-in of registries.conf, with an entry for each registry.

They send no `ns`, so the registry moves into the path: HOST/docker.io/library/nginx. There is no
entry for all registries. Users with a registries.conf in their home do not read this one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from distserver.nodes.endpoints import Endpoint, endpoints_of
from distserver.nodes.node import Node, NodeError
from distserver.nodes.plan import HEAD, File, Plan, Wish
from distserver.proxy.upstream.table import DOCKER_HUB, WELL_KNOWN

FILE = "/etc/containers/registries.conf.d/distserver.conf"


@dataclass(frozen=True, slots=True)
class Containers:
    """A program that reads /etc/containers.

    restart  the command after which it reads again; "" = it does so each time
    places   files of which one is there if it is installed
    """

    name: str
    restart: str
    places: tuple[str, ...]
    family: str = "containers"

    def plan(self, wish: Wish, node: Node) -> Plan:
        """Write the drop-in, and certificates where this library looks for them."""
        registries = tuple(dict.fromkeys((DOCKER_HUB, *WELL_KNOWN, *wish.registries)))
        text = HEAD + "".join(_entry(name, wish) for name in registries)
        trusted = (f"/etc/containers/certs.d/{one.host}/ca.crt" for one in wish.secured)
        files = (File(FILE, text.encode()), *(File(path, wish.ca) for path in trusted))
        return Plan(files, (_others(wish),))

    def files(self, node: Node) -> Sequence[str]:
        """Return the drop-in."""
        return [FILE] if node.exists(FILE) else []

    def endpoints(self, node: Node) -> Sequence[Endpoint]:
        """Return the servers of the drop-in, in order."""
        try:
            document = tomllib.loads((node.read(FILE) or b"").decode())
        except ValueError as exc:
            raise NodeError(f"{FILE}: {exc}") from exc
        return endpoints_of(_places(document))

    def installed(self, node: Node) -> bool:
        """By its program or its configuration."""
        return any(map(node.exists, self.places))


def _entry(registry: str, wish: Wish) -> str:
    """An entry: mirrors, then the location, which is the registry itself or a server of ours."""
    mirrors = wish.endpoints[:-1] if wish.only else wish.endpoints
    location = (
        _location(wish.endpoints[-1], registry) if wish.only else f'location = "{registry}"\n'
    )
    lines = [f'\n[[registry]]\nprefix = "{registry}"\n{location}']
    lines += [f"[[registry.mirror]]\n{_location(one, registry)}" for one in mirrors]
    return "".join(lines)


def _location(endpoint: Endpoint, registry: str) -> str:
    insecure = "insecure = true\n" if endpoint.plain else ""
    return f'location = "{endpoint.host}/{registry.replace(":", "_")}"\n{insecure}'


def _places(document: Any) -> Iterator[str]:
    for entry in document.get("registry", ()):
        for place in (*entry.get("mirror", ()), entry):
            host, _, path = str(place.get("location", "")).partition("/")
            if path:  # else the registry itself
                yield f"{'http' if place.get('insecure') else 'https'}://{host}"


def _others(wish: Wish) -> str:
    going = "go to the registry itself" + (", in spite of --only" if wish.only else "")
    return (
        f"Covered are the {len(WELL_KNOWN) + 1} well-known registries"
        f"{''.join(f', {name}' for name in wish.registries)}; pulls from others {going}. "
        "--registry HOST adds one."
    )
