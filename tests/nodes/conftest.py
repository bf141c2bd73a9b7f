"""Fixtures of the nodes: four registries of the world, and one server of ours that stands for all.

docker.io, quay.io and registry.k8s.io are relays before one docker-registry; private.site:5000 is
one before another, which wants a user.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.components.require import require
from tests.figures import record
from tests.links.images import Image, make_image
from tests.links.ours import Ours, ours, table
from tests.links.relay import Relay, relay
from tests.links.upstream import Upstream, docker_registry

Show = Callable[[str], None]
USER, PASSWORD = "puller", "correct horse"
PRIVATE = "private.site:5000"
REPOSITORIES = {
    "docker.io": "library/app",
    "quay.io": "team/app",
    "registry.k8s.io": "pause",
    PRIVATE: "team/secret",
}
TAG = "v1"


@dataclass(frozen=True)
class World:
    """The registries that there are, by name.

    images  what each has under its name of REPOSITORIES, with the tag TAG
    relays  what each is asked
    server  ours, before all of them
    """

    images: Mapping[str, Image]
    relays: Mapping[str, Relay]
    server: Ours

    @property
    def host(self) -> str:
        """HOST:PORT of our server."""
        return self.server.host

    def in_path(self, name: str) -> str:
        """The image of a registry as a client names it that speaks to us and knows no mirrors."""
        return f"{self.host}/{name.replace(':', '_')}/{REPOSITORIES[name]}:{TAG}"


def name_of(registry: str) -> str:
    """The image of a registry, as a pod's specification names it."""
    return f"{registry}/{REPOSITORIES[registry]}:{TAG}"


def name_hub(server: Ours) -> str:
    """Give our server a second name, under which all requests are meant for docker.io; return it.

    Who sends no `ns` needs it: docker with registry-mirrors, pushes of containerd before 2.3.
    """
    name = f"localhost:{server.server.port}"
    file = Path(server.server.env["DISTSERVER_CONFIG"])
    head = '[upstream."docker.io"]\n'
    file.write_text(file.read_text().replace(head, f'{head}hosts = ["{name}"]\n'))
    server.stop_and_start()
    return name


@pytest.fixture(scope="session")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Upstream]]:
    """The real registries behind the names."""
    root = tmp_path_factory.mktemp("world")
    users = root / "users"
    command = [require("htpasswd"), "-Bbn", USER, PASSWORD]
    users.write_bytes(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)
    with docker_registry(root / "public") as public, docker_registry(root / "own", users) as own:
        open_to_all, guarded = Upstream(public), Upstream(own, (USER, PASSWORD))
        yield {name: guarded if name == PRIVATE else open_to_all for name in REPOSITORIES}


@pytest.fixture(scope="session")
def images(
    tmp_path_factory: pytest.TempPathFactory, backends: Mapping[str, Upstream]
) -> Mapping[str, Image]:
    """An image in each registry."""
    root = tmp_path_factory.mktemp("images")
    made = {name: make_image(root, 400_000, name) for name in REPOSITORIES}
    for name, image in made.items():
        backends[name].push(image, REPOSITORIES[name], TAG)
    return made


@pytest.fixture
def relays(backends: Mapping[str, Upstream]) -> Iterator[Mapping[str, Relay]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(relay(backend.host, socket.create_server(("127.0.0.1", 0))))
            for name, backend in backends.items()
        }


@pytest.fixture
def world(
    tmp_path: Path, images: Mapping[str, Image], relays: Mapping[str, Relay]
) -> Iterator[World]:
    """All registries, and an empty server of ours before them."""
    with ours(tmp_path / "ours", tables(tmp_path, relays)) as server:
        yield World(images, relays, server)


def tables(directory: Path, relays: Mapping[str, Relay]) -> str:
    """The configuration of our server for all registries."""
    password = directory / "password"
    password.write_text(PASSWORD + "\n")
    more = f'username = "{USER}"\npassword_file = "{password}"\nallow = ["team/*"]'
    return "".join(
        table(name, one.url, more if name == PRIVATE else "") for name, one in relays.items()
    )


@pytest.fixture
def show(world: World) -> Show:
    """Record that a client pulled from all registries, once it did: show(client).

    Each layer must have come from its own registry, once, however often it was pulled.
    """

    def check(client: str) -> None:
        for name, image in world.images.items():
            sent = {other: relay.sent(image.layer) for other, relay in world.relays.items()}
            wanted = {other: image.size if other == name else 0 for other in sent}
            assert sent == wanted, (sent, wanted)
        record(
            "One node config",
            f"{client}: pulls of {', '.join(REPOSITORIES)}",
            "all pull through one server",
            f"{len(world.images)} of {len(REPOSITORIES)} pulled, each layer fetched once",
        )

    return check
