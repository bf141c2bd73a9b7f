"""The commands: what they print, exit codes, and that a refusal writes nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from distserver import app
from distserver.cli import main
from distserver.config import Config
from distserver.nodes.node import Node
from tests.live import Server
from tests.node_config.conftest import Put
from tests.proxy.tls import authority


@pytest.fixture
def dead() -> str:
    """An endpoint where nobody is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def run(node: Node) -> Callable[..., Result]:
    def invoke(*arguments: str) -> Result:
        result = CliRunner().invoke(main, [*arguments, "--root", str(node.root)])
        known = result.exception is None or isinstance(result.exception, SystemExit)
        assert known, result.exception
        return result

    return invoke


def test_write_show_undo(server: Server, run: Callable[..., Result], node: Node, dead: str) -> None:
    both = ("--endpoint", dead, "--endpoint", server.url)
    done = run("node-config", "write", "--runtime", "k3s", *both)
    assert done.exit_code == 0
    assert f"{dead} does not answer: Connection refused" in done.output
    assert "written /etc/rancher/k3s/registries.yaml" in done.output
    assert "Holds after: systemctl restart k3s " in done.output
    shown = run("node-config", "show").output
    assert "registries.yaml: ours" in shown
    assert f"{dead}: Connection refused" in shown
    assert f"{server.url}: answers" in shown
    assert "removed" in run("node-config", "undo", "--runtime", "k3s").output
    assert "nothing was written" in run("node-config", "undo", "--runtime", "k3s").output
    assert not node.exists("/etc/rancher")


def test_nothing_is_written_before_an_endpoint_answers(
    run: Callable[..., Result], node: Node, dead: str
) -> None:
    command = ("node-config", "write", "--runtime", "docker", "--endpoint", dead)
    refused = run(*command)
    assert refused.exit_code == 1
    assert "no endpoint answers, so nothing was written" in refused.output
    assert list(node.root.iterdir()) == []
    assert run(*command, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--endpoint", "a:5000"), "begins with http"),
        (("--endpoint", "http://a:5000", "--registry", "a/b"), "--registry 'a/b'"),
        (("--endpoint", "http://a:5000", "--ca", "CA"), "--ca is for endpoints"),
        (("--endpoint", "https://a:5000", "--ca", "BAD"), "no certificate"),
        ((), "Missing option '--endpoint'"),
    ],
)
def test_wrong_use(
    run: Callable[..., Result], node: Node, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    (tmp_path / "bad.pem").write_text("x")
    files = {"CA": str(authority(tmp_path, "ca").cert), "BAD": str(tmp_path / "bad.pem")}
    given = [files.get(option, option) for option in options]
    done = run("node-config", "write", "--runtime", "containerd", *given)
    assert done.exit_code == 2
    assert words in done.output
    assert list(node.root.iterdir()) == []


def test_errors_of_files_are_one_line(run: Callable[..., Result], put: Put, dead: str) -> None:
    put("/etc/docker/daemon.json", "{")
    done = run("node-config", "write", "--runtime", "docker", "--endpoint", dead, "--force")
    assert done.exit_code == 1
    assert done.output.startswith("Error: /etc/docker/daemon.json: ")


@pytest.fixture
def served(node: Node, put: Put) -> Node:
    """A node with a server whose paths are its own."""
    put("/etc/distserver/config.toml", 'storage = "/srv/registry"\nstate = "/srv/state"\n')
    root = node.root / "srv"
    root.mkdir()
    app.initialise_storage(Config(storage=(str(root / "registry"),), state=str(root / "state")))
    return node


def test_doctor(run: Callable[..., Result], served: Node, put: Put, tmp_path: Path) -> None:
    done = run("doctor")
    assert done.exit_code == 1
    assert "stop  nothing starts the server here" in done.output
    assert "1 of " in done.output
    assert f"ok    the storage {served.root}/srv/registry is there" in done.output
    put("/etc/systemd/system/multi-user.target.wants/distserver.service", "")
    rows = [json.loads(line) for line in run("doctor", "--json").output.splitlines()]
    assert {row["level"] for row in rows} == {"ok"}
    (tmp_path / "list").write_text("app:v1 # of the site\n")
    needed = run("doctor", "--need", str(tmp_path / "list"))
    assert needed.exit_code == 1
    assert "stop  docker.io/library/app:v1: it is not held" in needed.output
    (served.root / "srv/registry").rename(served.root / "gone")
    (served.root / "srv/registry").mkdir()
    assert "is not the storage that was here" in run("doctor").output


def test_doctor_and_a_server(
    run: Callable[..., Result], served: Node, server: Server, dead: str
) -> None:
    assert f"ok    {server.url} answers" in run("doctor", "--endpoint", server.url).output
    assert f"stop  {dead} does not answer" in run("doctor", "--endpoint", dead).output


def test_doctor_with_a_bad_configuration(run: Callable[..., Result], put: Put) -> None:
    put("/etc/distserver/config.toml", "unknown = 1")
    done = run("doctor")
    assert done.exit_code == 1
    assert "unknown key unknown" in done.output
