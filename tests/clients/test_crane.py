"""crane: push and pull of a layout, copy, catalog, ls, digest, validate, delete, login."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.clients.conftest import NAME, PASSWORD, Show
from tests.clients.registry import digest_of, holds
from tests.clients.run import Client
from tests.components.images import Image
from tests.live import Server

pytestmark = pytest.mark.client


@pytest.fixture
def crane(tmp_path: Path) -> Client:
    return Client("crane", tmp_path / "home", "--insecure")


def test_push_and_pull(
    server: Server, image: Image, crane: Client, tmp_path: Path, show: Show
) -> None:
    repository = f"crane/{image.family.name}"
    there = f"{server.host}/{repository}:v1"
    crane("push", str(image.directory), there)
    assert holds(server, repository, image)
    assert crane("digest", there) == image.digest
    crane("validate", "--remote", there)
    crane("pull", "--format", "oci", there, str(tmp_path / "pulled"))
    pulled = json.loads((tmp_path / "pulled" / "index.json").read_text())
    assert [entry["digest"] for entry in pulled["manifests"]] == [image.digest]
    show("crane", f"push, pull, validate of a multi-arch image, {image.family.name}")


def test_copy_and_lists(server: Server, image: Image, seed: str, crane: Client) -> None:
    repository = f"crane/copy-{image.family.name}"
    crane("copy", f"{seed}:v1", f"{server.host}/{repository}:v2")
    assert holds(server, repository, image, "v2")
    crane("tag", f"{server.host}/{repository}:v2", "v3")
    assert crane("ls", f"{server.host}/{repository}").split() == ["v2", "v3"]
    assert repository in crane("catalog", server.host).split()


def test_delete(server: Server, image: Image, seed: str, crane: Client) -> None:
    repository = f"crane/delete-{image.family.name}"
    crane("copy", f"{seed}:v1", f"{server.host}/{repository}:v1")
    crane("delete", f"{server.host}/{repository}@{image.digest}")
    assert digest_of(server, repository) == ""


def test_https_probe_costs_nothing(seeds: dict[str, str], crane: Client) -> None:
    """crane asks https first; a server of plain HTTP must say no at once, not by a timeout."""
    begin = time.monotonic()
    crane("digest", f"{seeds['oci']}:v1")
    assert time.monotonic() - begin < 5


def test_login(guarded: Server, seeds: dict[str, str], crane: Client) -> None:
    copy = ("copy", f"{seeds['oci']}:v1", f"{guarded.host}/app:v1")
    assert crane.attempt(*copy).returncode != 0
    crane("auth", "login", guarded.host, "-u", NAME, "--password-stdin", stdin=PASSWORD)
    crane(*copy)
    assert crane("ls", f"{guarded.host}/app") == "v1"
