"""A repository of its own for each test, and a server with users under TLS."""

from __future__ import annotations

import itertools
import re
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import bcrypt
import pytest

from tests.live import Server, running, start_server
from tests.protocol.images import Repository

_numbers = itertools.count()
HASTE = {"DISTSERVER_STALL_TIMEOUT_SECONDS": "1"}
RIGHTS = {
    "alice": "",
    "bob": ":pull,push,delete",
    "reader": ":pull",
    "writer": ":push",
    "ünï": ":pull,push",
}


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository name that no other test uses."""
    stem = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:60].strip("-")
    return f"t{next(_numbers)}/{stem}"


@pytest.fixture
def repo(server: Server, name: str) -> Repository:
    """An empty repository of the shared server."""
    return Repository(server, name)


@pytest.fixture
def other(server: Server, name: str) -> Repository:
    """A second empty repository of the shared server."""
    return Repository(server, f"{name}/other")


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server under TLS with users; a password is the user's name. Impatient, as `hasty`."""
    directory = tmp_path_factory.mktemp("secured")
    users = directory / "users"
    users.write_text("".join(_line(name, rights) for name, rights in RIGHTS.items()))
    env = {"DISTSERVER_USERS_FILE": str(users), **HASTE, **_certificate(directory)}
    with warnings.catch_warnings(action="ignore"):
        started = start_server(directory, "--workers", "1", env=env)
    with running(started) as server:
        yield server


@pytest.fixture(scope="session")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that cuts what is silent for a second."""
    directory = tmp_path_factory.mktemp("hasty")
    with running(start_server(directory, "--workers", "1", env=HASTE)) as server:
        yield server


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Two servers over one storage."""
    directory = tmp_path_factory.mktemp("pair")
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                running(
                    start_server(directory / side, "--workers", "1", storage=directory / "storage")
                )
            )
            for side in "ab"
        ]


@pytest.fixture
def both(pair: list[Server], name: str) -> list[Repository]:
    """One empty repository, seen by two servers."""
    return [Repository(server, name) for server in pair]


def _line(name: str, rights: str) -> str:
    return f"{name}:{bcrypt.hashpw(name.encode(), bcrypt.gensalt(4)).decode()}{rights}\n"


def _certificate(directory: Path) -> dict[str, str]:
    cert, key = directory / "cert.pem", directory / "key.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key}"
    command += f" -out {cert} -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(command.split(), check=True, capture_output=True, timeout=30)
    return {"DISTSERVER_TLS_CERT": str(cert), "DISTSERVER_TLS_KEY": str(key)}
