"""What `distserver node-config write` writes, read by the real runtimes.

The files lie below a directory; the runtimes are told where.
"""

from __future__ import annotations

import json
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from tests.clients.containerd import Containerd
from tests.clients.engine import engine
from tests.clients.run import Client, unmount
from tests.figures import record
from tests.links.images import Image
from tests.links.ours import Ours, ours
from tests.links.relay import Relay
from tests.nodes.conftest import REPOSITORIES, TAG, World, name_of, tables
from tests.nodes.node import containerd_of, node_config
from tests.proxy.tls import authority, issued

pytestmark = pytest.mark.client

PULL_SECONDS = 5.0
"""For five requests of which each meets the dead server first; asserted with slack."""


@dataclass(frozen=True)
class Site:
    """Two servers of ours before the same registries, and a node's root directory."""

    one: Ours
    two: Ours
    root: Path
    images: Mapping[str, Image]

    def node_config(self, command: str, runtime: str, *options: str) -> str:
        """Run our command on the node's files; it must succeed."""
        return node_config(self.root, command, runtime, *options)

    def write(self, runtime: str, *options: str) -> str:
        """Let the node pull through both servers, one first."""
        urls = [url for server in (self.one, self.two) for url in ("--endpoint", url_of(server))]
        return self.node_config("write", runtime, *urls, *options)


def url_of(server: Ours) -> str:
    return f"http://{server.host}"


@pytest.fixture
def site(tmp_path: Path, world: World, relays: Mapping[str, Relay]) -> Iterator[Site]:
    root = tmp_path / "node"
    root.mkdir()
    with ours(tmp_path / "second", tables(tmp_path, relays)) as second:
        yield Site(world.server, second, root, world.images)
        if world.server.server.process.poll() is not None:  # it has to end well, killed or not
            world.server.kill_and_start()


@pytest.fixture
def node(site: Site) -> Iterator[Containerd]:
    """A containerd that reads the node's certs.d."""
    with containerd_of(site.root) as running:
        yield running


@contextmanager
def listening() -> Iterator[tuple[str, list[object]]]:
    """Stand for a registry of the world: HOST:PORT, and who dialled it so far."""
    dialled: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, peer = listener.accept()
                except OSError:
                    return
                dialled.append(peer)
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", dialled
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def requests_of(server: Ours) -> int:
    """How many requests for content a server has answered so far."""
    return sum("/v2/" in line or "manifests" in line for line in server.server.log.splitlines())


def test_containerd_goes_on_with_the_second_server(site: Site, node: Containerd) -> None:
    site.write("containerd")
    name, image = name_of("docker.io"), site.images["docker.io"]
    assert f"docker.io/library/app@{image.digest}" in node.pulled(name)
    assert requests_of(site.one) > 3
    assert requests_of(site.two) <= 1  # the question whether it answers
    node.forget_all()
    site.one.server.kill()
    begin = time.monotonic()
    assert f"docker.io/library/app@{image.digest}" in node.pulled(name)
    seconds = time.monotonic() - begin
    assert requests_of(site.two) > 3
    assert seconds < PULL_SECONDS
    record(
        "One node config",
        "containerd 1.6, hosts.toml by node-config with two servers, the first killed",
        "pulls by the second, < 1 s a request",
        f"pulled in {seconds:.1f} s, {requests_of(site.two) - 1} requests",
    )


def test_containerd_asks_nobody_else(site: Site, node: Containerd) -> None:
    with listening() as (registry, dialled):
        site.write("containerd", "--only")
        with pytest.raises(grpc.RpcError):
            node.pull(f"{registry}/team/app:{TAG}")
        assert dialled == []
        assert node.pulled(name_of("quay.io"))
        site.write("containerd")  # the counter-proof
        with pytest.raises(grpc.RpcError):
            node.pull(f"{registry}/team/app:{TAG}")
        assert dialled
    assert "removed" in site.node_config("undo", "containerd")
    assert not list(site.root.rglob("hosts.toml"))


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")  # of the question whether it is up
def test_containerd_trusts_the_authority(
    site: Site, node: Containerd, tmp_path: Path, relays: Mapping[str, Relay]
) -> None:
    ca = authority(tmp_path, "authority")
    pair = issued(tmp_path, ca, "server", "IP:127.0.0.1")
    env = {"DISTSERVER_TLS_CERT": str(pair.cert), "DISTSERVER_TLS_KEY": str(pair.key)}
    with ours(tmp_path / "tls", tables(tmp_path, relays), env=env) as server:
        url = f"https://{server.host}"
        site.node_config("write", "containerd", "--endpoint", url, "--only", "--ca", str(ca.cert))
        assert node.pulled(name_of("docker.io"))
        assert f"{url}: answers" in site.node_config("show", "containerd")


@pytest.fixture
def podman(tmp_path: Path, site: Site) -> Iterator[Client]:
    """A podman that reads the node's drop-in."""
    # podman refuses a runroot of more than 50 characters.
    with tempfile.TemporaryDirectory(prefix="podman") as runroot:
        store = ("--root", str(tmp_path / "root"), "--runroot", runroot)
        client = Client("podman", tmp_path / "home", *store, "--storage-driver", "vfs")
        drop_in = site.root / "etc/containers/registries.conf.d/distserver.conf"
        client.env["CONTAINERS_REGISTRIES_CONF"] = str(drop_in)
        yield client
        unmount(Path(runroot))
        unmount(tmp_path)


def test_podman(site: Site, podman: Client) -> None:
    private = "private.site:5000"
    site.write("podman", "--registry", private)
    for registry in REPOSITORIES:
        podman("pull", name_of(registry))
        podman("rmi", "--all", "--force")
    site.one.server.kill()
    podman("pull", name_of("docker.io"))
    digest = site.images["docker.io"].digest
    assert digest in podman("image", "inspect", name_of("docker.io"))


def test_podman_asks_nobody_else(site: Site, podman: Client) -> None:
    with listening() as (registry, dialled):
        site.write("podman", "--only", "--registry", registry)
        assert podman.attempt("pull", f"{registry}/team/app:{TAG}").returncode != 0
        assert dialled == []
        podman("pull", name_of("quay.io"))
        site.one.server.kill()
        podman("rmi", "--all", "--force")
        podman("pull", name_of("quay.io"))
        site.write("podman", "--registry", registry)  # the counter-proof
        assert podman.attempt("pull", f"{registry}/team/app:{TAG}").returncode != 0
        assert dialled


def test_docker(site: Site, tmp_path: Path) -> None:
    assert "Docker Hub only" in site.write("docker")
    settings = json.loads((site.root / "etc/docker/daemon.json").read_text())
    with engine(tmp_path / "d", settings) as docker:
        for kill in (False, True):
            if kill:
                site.one.server.kill()
            docker("pull", "--quiet", f"app:{TAG}")
            found = json.loads(docker("image", "inspect", f"app:{TAG}"))[0]
            assert site.images["docker.io"].digest in found["RepoDigests"][0]
            docker("rmi", "--force", found["Id"])
