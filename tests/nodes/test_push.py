"""A site's own image under an upstream's name: pushed by any client, whatever the upstream does.

From then on the site's image is what the name means here; the upstream's is never asked for again.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.containerd import Containerd, running_containerd
from tests.clients.engine import engine
from tests.clients.run import Client
from tests.counts import count
from tests.figures import record
from tests.links.images import Image, digest_of, make_image
from tests.links.ours import Ours, ours, table
from tests.links.readers import Reader, Reading
from tests.links.relay import Relay
from tests.nodes import pushers
from tests.nodes.conftest import name_hub

pytestmark = pytest.mark.client

NAME = "docker.io/library/app"
STATES = ("reachable", "refusing", "silent", "offline")
ENV = {"DISTSERVER_TAG_TTL_SECONDS": "0"}
"""A tag that is not pinned is asked for at every pull."""
MIRROR = 'server = "{url}"\n[host."{url}"]\n  capabilities = ["pull", "resolve", "push"]\n'
CLIENTS = ("skopeo", "podman", "docker", "ctr", "crane")
SLOW = ("podman", "docker")[: count(2, 0)]
"""Not tried with a silent upstream, which takes its time, where counts are reduced."""
BLIND = ("refusing", "silent")
"""crane asks for the tag before all else and takes 503 for the end: here it cannot push."""
CASES = [
    (state, client)
    for state in STATES
    for client in CLIENTS
    if not (state in BLIND and client == "crane") and not (state == "silent" and client in SLOW)
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    with running_containerd(tmp_path_factory.mktemp("c")) as running:
        yield running


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with engine(tmp_path_factory.mktemp("d"), {}) as client:
        yield client


@pytest.fixture
def server(tmp_path: Path, relays: Mapping[str, Relay], state: str) -> Iterator[Ours]:
    """A server whose docker.io is in that state."""
    mode = 'mode = "offline"\n' if state == "offline" else ""
    with hub(relays["docker.io"], state) as url:
        tables = mode + table("docker.io", url)
        with ours(tmp_path / "ours", tables, env=ENV) as running:
            yield running


@contextmanager
def hub(reachable: Relay, state: str) -> Iterator[str]:
    """URL of an upstream that answers, refuses connections, or takes them and says nothing.

    Even if it answers its blobs are slow to come: none is here before the push ends.
    """
    if state == "reachable":
        reachable.hold_at(1)
        yield reachable.url
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if state == "silent":
            yield url
            return
    yield url


@pytest.fixture
def push(request: pytest.FixtureRequest) -> Callable[[str], pushers.Push]:
    """How a client pushes, by its name; daemons start when they are first used."""
    daemons: dict[str, Callable[[], pushers.Push]] = {
        "docker": lambda: pushers.by_docker(request.getfixturevalue("docker")),
        "ctr": lambda: pushers.by_ctr(request.getfixturevalue("node"), "--plain-http"),
    }
    plain = {
        "skopeo": pushers.by_skopeo,
        "crane": pushers.by_crane,
        "podman": pushers.by_podman,
    }
    return lambda client: plain[client] if client in plain else daemons[client]()


@pytest.mark.parametrize(("state", "client"), CASES)
def test_in_path(
    tmp_path: Path,
    images: Mapping[str, Image],
    server: Ours,
    state: str,
    push: Callable[[str], pushers.Push],
    client: str,
) -> None:
    """The site's image stands on the layer of the upstream's, which is not held here."""
    image = make_image(tmp_path / "own", 100_000, client, base=images["docker.io"])
    digest = push(client)(image, f"{server.host}/{NAME}:v1", tmp_path / "scratch")
    assert_pinned(server, digest, image)
    report(f"{client}, the registry in the path", state)


@pytest.mark.parametrize("state", [s for s in STATES if s != "silent" or not SLOW])
def test_by_namespace(
    tmp_path: Path, images: Mapping[str, Image], server: Ours, state: str
) -> None:
    """As containerd pushes from 2.3 on, with us as a mirror that takes pushes."""
    image = make_image(tmp_path / "own", 100_000, "ns", base=images["docker.io"])
    digest = pushers.by_namespace(image, server.server, "docker.io", "library/app")
    assert_pinned(server, digest, image)
    report("requests of containerd 2.3 with ns", state)


@pytest.mark.parametrize("state", ["reachable", "offline"])
def test_by_mirror(
    tmp_path: Path, images: Mapping[str, Image], server: Ours, state: str, node: Containerd
) -> None:
    """containerd before 2.3: its push names no registry, so the mirror has a name of its own."""
    image = make_image(tmp_path / "own", 100_000, "mirror", base=images["docker.io"])
    url = f"http://{name_hub(server)}"
    node.hosts("docker.io", MIRROR.format(url=url))
    push = pushers.by_ctr(node, "--hosts-dir", node.certs)
    assert_pinned(server, push(image, f"{NAME}:v1", tmp_path / "scratch"), image)
    report("ctr 1.6, hosts.toml with push and a name for docker.io", state)


def assert_pinned(server: Ours, digest: str, image: Image) -> None:
    """By tag, however it is spelled, the pushed image is pulled, whole."""
    client = Reader(server.host)
    for path in (f"{NAME}/manifests/v1", "library/app/manifests/v1?ns=docker.io"):
        for _ in range(4):  # by either worker
            status, body = client.get(f"/v2/{path}")
            assert (status, digest_of(body)) == (200, digest)
    if digest == image.digest:
        for blob, file in image.blobs.items():
            reading = Reading(blob, file.stat().st_size)
            assert client.read(f"/v2/{NAME}/blobs/{blob}", reading).right


def report(client: str, state: str) -> None:
    record(
        "Push under an upstream's name",
        f"{client}, upstream {state}, layers of the upstream's that are not held",
        "the push succeeds, the tag is pinned, every blob pulls",
        "pushed, pinned, whole",
    )
