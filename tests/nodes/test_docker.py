"""Docker Engine with registry-mirrors: requests for docker.io that name no registry at all.

Nothing in them tells a mirror's request from one for a repository of our own but the Host, which
is that of the mirror's URL. The engine takes no path in that URL.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients.engine import engine
from tests.clients.run import Client
from tests.figures import record
from tests.links.images import Image
from tests.links.upstream import Upstream
from tests.nodes.conftest import TAG, World, name_hub, name_of

pytestmark = pytest.mark.client


def pulled(docker: Client, name: str) -> bool:
    """Pull by tag; whether that came from a registry just now, and is what it names."""
    docker("pull", "--quiet", name)
    found = json.loads(docker("image", "inspect", name))[0]
    docker("rmi", "--force", found["Id"])
    return bool(found["RepoDigests"])


def test_official_images(world: World, tmp_path: Path) -> None:
    """library/… is Docker Hub's own; it needs no word in the configuration."""
    with engine(tmp_path / "d", {"registry-mirrors": [world.server.server.url]}) as docker:
        for name in (f"app:{TAG}", name_of("docker.io")):
            assert pulled(docker, name)
    sent(world, world.images["docker.io"])


def test_images_of_others(world: World, backends: Mapping[str, Upstream], tmp_path: Path) -> None:
    """team/app could be ours as well: a name of its own for the mirror makes it clear."""
    image = world.images["quay.io"]
    backends["docker.io"].push(image, "team/app", TAG)
    mirror = name_hub(world.server)
    with engine(tmp_path / "d", {"registry-mirrors": [f"http://{mirror}"]}) as docker:
        for name in (f"team/app:{TAG}", f"app:{TAG}"):
            assert pulled(docker, name)
        direct = docker.attempt("pull", f"{world.host}/team/app:{TAG}")
        assert direct.returncode != 0  # under our usual name it is still a repository of our own
    sent(world, image)
    record(
        "One node config",
        "docker engine, registry-mirrors: pulls of docker.io",
        "all pull through one server",
        "official images and those of others pulled, each layer fetched once",
    )


def test_in_path(world: World, tmp_path: Path) -> None:
    with engine(tmp_path / "d", {}) as docker:
        for registry, image in world.images.items():
            assert pulled(docker, world.in_path(registry))
            assert world.relays[registry].sent(image.layer) == image.size


def sent(world: World, image: Image) -> None:
    """The layer came through us from docker.io, once."""
    assert world.relays["docker.io"].sent(image.layer) == image.size
