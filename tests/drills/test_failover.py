"""Drill F: two servers hold the same images; when the first is lost, nodes go on by the second.

The first is at the far end of a link, the second beside the node, which is as near as it gets.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from tests.clients.containerd import DEBIAN, NEW, Containerd, Release
from tests.counts import count
from tests.drills.commands import Ours
from tests.figures import record
from tests.links.images import Image, make_image, write_layout
from tests.links.netns import FAR_ADDRESS, NEAR_ADDRESS, Link, a_link, inside
from tests.live import Server, running, start_server, wait_for
from tests.nodes.node import containerd_of, node_config

pytestmark = pytest.mark.fault

NAMES = ("docker.io/team/one", "quay.io/team/two", "registry.k8s.io/three")
TAG, DIGEST = "v1", "digest"
REQUESTS = 4
"""Of a pull: HEAD and GET of the manifest, config, layer. One follows the other."""
REFUSED_SECONDS, DIALLED_SECONDS, ABSENT_SECONDS, SILENT_SECONDS = 1.0, 3.0, 6.0, 35.0
"""Limits of a request, with slack: refused; dial_timeout of 1 s; nobody there 3 s; silence 30."""
PULL_SECONDS, AGAIN_SECONDS = 180.0, 15.0
LOST = {Link.swallow: "drops packets", Link.leave: "is off, in the node's own network"}
LOSSES = [
    pytest.param(NEW, Link.swallow, DIALLED_SECONDS, id="2.2 dropped"),
    pytest.param(NEW, Link.leave, DIALLED_SECONDS, id="2.2 off"),
    pytest.param(DEBIAN, Link.leave, ABSENT_SECONDS, id="1.6 off"),
    pytest.param(DEBIAN, Link.swallow, SILENT_SECONDS, id="1.6 dropped"),  # two minutes
][: count(1, 4)]


@dataclass
class Site:
    """Two copies of one storage, and a node's root directory.

    one     the server at the far end of the link, asked first; it runs
    second  directory of the other one
    images  what both hold, by name without tag
    """

    link: Link
    one: Server
    second: Path
    root: Path
    images: Mapping[str, Image]

    def start_second(self) -> Server:
        """Start the unit on node 2."""
        return serve(self.second, NEAR_ADDRESS)

    def write(self, *servers: Server) -> None:
        """Let the node pull through servers, in this order, and from nowhere else."""
        urls = [word for server in servers for word in ("--endpoint", server.url)]
        node_config(self.root, "write", "containerd", "--only", *urls)


def serve(directory: Path, address: str) -> Server:
    """Run a server over a copy, as its node's unit does."""
    return start_server(directory, "--offline", "--listen", f"{address}:0")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Image]:
    """Images of one layer: four requests, one after the other."""
    root = tmp_path_factory.mktemp("images")
    return {name: make_image(root, 400_000, name) for name in NAMES}


@pytest.fixture
def site(tmp_path: Path, images: Mapping[str, Image]) -> Iterator[Site]:
    """The site; the test is where the node is."""
    first, second = Ours(tmp_path / "one"), Ours(tmp_path / "two")
    for name, image in images.items():
        write_layout(image, tmp_path / "layouts" / name, TAG, f"{name}:{TAG}")
    first.run("load", *(tmp_path / "layouts" / name for name in images))
    shutil.copytree(first.storage, second.storage)
    with a_link() as link:
        with inside(link.far):
            one = serve(first.directory, FAR_ADDRESS)
        try:
            with inside(link.near):
                yield Site(link, one, second.directory, tmp_path / "node", images)
        finally:
            one.kill()


@pytest.mark.parametrize("release", count([NEW], [DEBIAN, NEW]), ids=lambda release: release.line)
def test_the_process_dies(site: Site, release: Release) -> None:
    with running(site.start_second()) as two, containerd_of(site.root, release) as node:
        said = len(node.log)
        site.write(site.one, two)
        pull_all(node, site, TAG)
        wait_for_requests(site.one, len(NAMES) * REQUESTS)
        assert requests_of(two) == 0
        site.one.kill()
        seconds = max(pull_all(node, site, TAG), pull_all(node, site, DIGEST))
        wait_for_requests(two, 2 * len(NAMES) * REQUESTS)
        assert not complaints(node.log[said:])
    record(
        "F",
        f"containerd {release.line}, the first server's process dead, {2 * len(NAMES)} pulls",
        "nodes go on by the second by themselves, < 1 s a request",
        f"the slowest pull took {seconds:.2f} s for {REQUESTS} requests",
    )
    assert seconds / REQUESTS < REFUSED_SECONDS


@pytest.mark.parametrize(("release", "lose", "limit"), LOSSES)
def test_the_machine_is_lost(
    site: Site, release: Release, lose: Callable[[Link], None], limit: float
) -> None:
    with running(site.start_second()) as two, containerd_of(site.root, release) as node:
        site.write(site.one, two)
        pull(node, site, NAMES[0], TAG)
        lose(site.link)
        seconds = pull(node, site, NAMES[0], TAG)
        wait_for_requests(two, REQUESTS)
    record(
        "F",
        f"containerd {release.line}, the first server's machine {LOST[lose]}",
        f"by the second, < {limit:.0f} s a request",
        f"{seconds / REQUESTS:.1f} s a request, {seconds:.1f} s for an image of {REQUESTS}",
    )
    assert seconds / REQUESTS < limit


def test_the_second_is_started_by_hand(site: Site) -> None:
    """Nodes know the first alone; the unit is started on node 2, and one command rewrites them."""
    with containerd_of(site.root) as node:
        site.write(site.one)
        pull_all(node, site, TAG)
        site.link.swallow()
        site.one.kill()
        node.forget_all()
        with pytest.raises(grpc.RpcError):
            node.pull(f"{NAMES[0]}:{TAG}", 5)
        begin = time.monotonic()
        with running(site.start_second()) as two:
            started = time.monotonic()
            site.write(two)
            written = time.monotonic()
            pull(node, site, NAMES[0], TAG)
            end = time.monotonic()
            pull_all(node, site, TAG)
    record(
        "F",
        "nodes know the first server alone, and it is lost: the unit started on node 2, and"
        " node-config write with its URL",
        "pulls again",
        f"the server up in {started - begin:.1f} s; from the command to the pulled image"
        f" {end - started:.1f} s, of which the command {written - started:.1f} s",
    )
    assert end - started < AGAIN_SECONDS


def pull_all(node: Containerd, site: Site, reference: str) -> float:
    """Pull all images anew; return the longest time, in seconds."""
    return max(pull(node, site, name, reference) for name in site.images)


def pull(node: Containerd, site: Site, name: str, reference: str) -> float:
    """Pull an image anew; return the seconds that it took."""
    node.forget_all()
    by_digest = f"{name}@{site.images[name].digest}"
    begin = time.monotonic()
    pulled = node.pulled(by_digest if reference == DIGEST else f"{name}:{TAG}", PULL_SECONDS)
    assert by_digest in pulled
    return time.monotonic() - begin


def wait_for_requests(server: Server, wanted: int) -> None:
    """Wait until a server has logged so many requests, as it does after the answer, and no more."""
    wait_for(lambda: requests_of(server) >= wanted, 10, f"{wanted} requests")
    assert requests_of(server) == wanted


def requests_of(server: Server) -> int:
    """How many requests for manifests and blobs a server has answered so far."""
    return len(re.findall(r"route=\S+/(?:manifests|blobs)/", server.log))


def complaints(log: str) -> list[str]:
    """Warnings and errors of containerd's."""
    return [line for line in log.splitlines() if not re.search("level=(info|debug)", line)]
