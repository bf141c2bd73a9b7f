"""helm: push and pull of a chart over OCI, with and without login."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.clients.conftest import NAME, PASSWORD, Show
from tests.clients.registry import digest_of
from tests.clients.run import Client
from tests.live import Server

pytestmark = pytest.mark.client
_DIGEST = re.compile(r"Digest: (sha256:[0-9a-f]{64})")


@pytest.fixture
def helm(tmp_path: Path) -> Client:
    client = Client("helm", tmp_path / "home")
    client("create", "app")
    client("package", "app")
    return client


def _digest(client: Client, *arguments: str) -> str:
    done = client.attempt(*arguments)
    found = _DIGEST.search(done.stdout + done.stderr)
    assert done.returncode == 0 and found, done.stdout + done.stderr
    return found[1]


def test_push_and_pull(server: Server, helm: Client, show: Show) -> None:
    chart = helm.home / "app-0.1.0.tgz"
    content = chart.read_bytes()
    pushed = _digest(helm, "push", "--plain-http", chart.name, f"oci://{server.host}/charts")
    assert digest_of(server, "charts/app", "0.1.0") == pushed
    chart.unlink()
    there = ("--plain-http", f"oci://{server.host}/charts/app", "--version", "0.1.0")
    assert _digest(helm, "pull", *there) == pushed
    assert chart.read_bytes() == content
    show("helm", "push and pull of a chart")


def test_login(guarded: Server, helm: Client) -> None:
    push = ("push", "--plain-http", "app-0.1.0.tgz", f"oci://{guarded.host}/charts")
    assert helm.attempt(*push).returncode != 0
    login = ("registry", "login", "--plain-http", guarded.host, "-u", NAME, "--password-stdin")
    helm(*login, stdin=PASSWORD)
    pushed = _digest(helm, *push)
    assert digest_of(guarded, "charts/app", "0.1.0") == pushed
