"""Fixtures of the clients: images, their seeds in the server, users, and the row each one shows."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.components.images import DOCKER, OCI, Image, build, push
from tests.components.require import require
from tests.figures import record
from tests.live import Server

Show = Callable[[str, str], None]
NAME, PASSWORD = "alice", "correct horse"


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Image]:
    """Images of both families, in layouts on disk."""
    root = tmp_path_factory.mktemp("images")
    return {family.name: build(root / family.name, family) for family in (OCI, DOCKER)}


@pytest.fixture(params=["oci", "docker"])
def image(request: pytest.FixtureRequest, images: Mapping[str, Image]) -> Image:
    """One image after the other: of OCI's and of Docker's media types."""
    return images[request.param]


@pytest.fixture(scope="session")
def seeds(images: Mapping[str, Image], server: Server) -> Mapping[str, str]:
    """Names of repositories in the server that hold the images, by family."""
    for family, image in images.items():
        push(image, server.url, f"seed/{family}")
    return {family: f"{server.host}/seed/{family}" for family in images}


@pytest.fixture
def seed(seeds: Mapping[str, str], image: Image) -> str:
    """HOST/NAME under which the server holds the image."""
    return seeds[image.family.name]


@pytest.fixture
def show() -> Iterator[Show]:
    """Record a figure for a client after its test: show(client, what was done)."""
    begin = time.monotonic()
    shown: list[tuple[str, str]] = []
    yield lambda client, done: shown.append((client, done))
    for client, done in shown:
        seconds = f"digests equal, {time.monotonic() - begin:.1f} s"
        record("R-25", f"{client}: {done}", "every step succeeds, digests equal", seconds)


@pytest.fixture
def guarded(start: Callable[..., Server], tmp_path: Path) -> Server:
    """A server that lets only alice in, whose password is in a file of htpasswd."""
    users = tmp_path / "users"
    command = [require("htpasswd"), "-Bbn", NAME, PASSWORD]
    users.write_bytes(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)
    users.chmod(0o600)
    return start(env={"DISTSERVER_USERS_FILE": str(users), "DISTSERVER_WORKERS": "1"})
