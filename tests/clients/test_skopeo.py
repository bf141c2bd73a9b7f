"""skopeo: copy of all architectures in and out, inspect, list-tags, delete, login."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients.conftest import NAME, PASSWORD, Show
from tests.clients.registry import digest_of, holds
from tests.clients.run import Client
from tests.components.images import Image
from tests.live import Server

pytestmark = pytest.mark.client
PLAIN = "--tls-verify=false"
BOTH = ("--src-tls-verify=false", "--dest-tls-verify=false")
COPY = ("copy", "--all", "--preserve-digests")


def test_copy(server: Server, image: Image, seed: str, tmp_path: Path, show: Show) -> None:
    skopeo = Client("skopeo", tmp_path / "home")
    repository = f"skopeo/{image.family.name}"
    there = f"docker://{server.host}/{repository}:v1"
    local = f"dir:{tmp_path / 'pulled'}"
    skopeo(*COPY, BOTH[0], f"docker://{seed}:v1", local)
    skopeo(*COPY, BOTH[1], local, there)
    assert holds(server, repository, image)
    assert skopeo("inspect", PLAIN, "--format", "{{.Digest}}", there) == image.digest
    assert json.loads(skopeo("list-tags", PLAIN, f"docker://{server.host}/{repository}"))["Tags"]
    skopeo("delete", PLAIN, there)
    assert digest_of(server, repository) == ""
    show("skopeo", f"pull, push, inspect, delete of a multi-arch image, {image.family.name}")


def test_between_repositories(server: Server, image: Image, seed: str, tmp_path: Path) -> None:
    skopeo = Client("skopeo", tmp_path / "home")
    repository = f"skopeo/between-{image.family.name}"
    skopeo(*COPY, *BOTH, f"docker://{seed}:v1", f"docker://{server.host}/{repository}:v1")
    assert holds(server, repository, image)


def test_login(guarded: Server, seeds: dict[str, str], tmp_path: Path) -> None:
    skopeo = Client("skopeo", tmp_path / "home")
    copy = ("copy", *BOTH, f"docker://{seeds['oci']}:v1", f"docker://{guarded.host}/app:v1")
    assert skopeo.attempt(*copy).returncode != 0
    login = ("login", PLAIN, "--username", NAME, "--password-stdin", guarded.host)
    assert skopeo.attempt(*login, stdin="wrong").returncode != 0
    skopeo(*login, stdin=PASSWORD)
    skopeo(*copy)
    skopeo("inspect", PLAIN, f"docker://{guarded.host}/app:v1")
