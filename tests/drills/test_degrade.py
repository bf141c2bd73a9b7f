"""Situation B: nodes pull through; the link drops in the middle of a layer, and comes back.

As the guide page edge.md has it. The site is a network namespace behind one cable.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.clients.containerd import Containerd, mirrored, running_containerd
from tests.drills.fleet import TAG, FleetImage, make_fleet
from tests.figures import record
from tests.links.netns import Link, a_link, inside
from tests.links.ours import Ours, ours, table
from tests.links.readers import crowd
from tests.links.relay import Relay, relay
from tests.live import wait_for
from tests.upstreams.images import digest_of
from tests.upstreams.registries import registry

pytestmark = pytest.mark.fault

COUNT, HELD = 8, 4
OWN_BYTES = 12 << 20
"""Of each image: more than what the link's ends buffer."""
FIRST_SECONDS, MISS_SECONDS = 30.0, 3.0
"""For a new image while the link is down: of each registry the first, and then all. With slack."""
BACK_SECONDS = 60.0


@pytest.fixture
def fleet() -> list[FleetImage]:
    return make_fleet(OWN_BYTES, COUNT)


@pytest.fixture
def site(tmp_path: Path, fleet: list[FleetImage]) -> Iterator[tuple[Link, Relay]]:
    """The cable, and at its far end a registry that has the fleet."""
    with registry(tmp_path / "upstream", "registry") as upstream:
        for image in fleet:
            image.push(upstream.url)
        with a_link() as link, relay(upstream.host, link.listener()) as between:
            yield link, between


def test_the_link_drops_and_comes_back(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    fleet: list[FleetImage],
    site: tuple[Link, Relay],
) -> None:
    link, between = site
    tables = "".join(table(h, between.url) for h in sorted({i.name.split("/")[0] for i in fleet}))
    with inside(link.near), ours(tmp_path / "ours", tables) as server:
        mirror = mirrored(server.server.url, server.server.url)
        root = tmp_path_factory.mktemp("c")
        with running_containerd(root, {"_default": mirror}) as node:
            drill(node, server, fleet, link, between)


def drill(
    node: Containerd, server: Ours, fleet: list[FleetImage], link: Link, between: Relay
) -> None:
    held, cut, new = fleet[:HELD], fleet[HELD], fleet[HELD + 1 :]
    for image in held:
        assert f"{image.name}@{image.digest}" in node.pulled(f"{image.name}:{TAG}")
    layer, size = own_layer(cut)
    between.hold_at(size // 2)
    node.forget_all()
    outcome: list[grpc.StatusCode] = []
    with crowd(1, lambda _: outcome.append(attempt(node, cut)), 300):
        wait_for(lambda: between.sent(layer) == size // 2, 30, "half of the layer")
        link.down()
        between.release()
        slowest = pull_all(node, held)
        first, later = ([missed(node, server, image) for image in new] for _ in range(2))
    assert outcome != [grpc.StatusCode.OK]
    link.up()
    up = time.monotonic()
    wait_for(lambda: server.partial(layer) is None, BACK_SECONDS, "the whole layer")
    back, ratio = time.monotonic() - up, between.sent(layer) / size
    for image in (cut, *new):
        assert f"{image.name}@{image.digest}" in node.pulled(f"{image.name}:{TAG}")
    record(
        "Situation B",
        f"{HELD} of {COUNT} images pulled by containerd; the link drops in mid-layer, comes back",
        "held ones pull; new ones are refused fast; the layer goes on, <= 1.02 x its size",
        f"slowest pull of a held image {slowest:.1f} s; new ones refused in {max(first):.0f} s, and"
        f" {max(later):.1f} s once their registries were found away; the layer complete"
        f" {back:.0f} s after the link was up, {ratio:.3f} x size from upstream",
    )
    assert max(first) <= FIRST_SECONDS
    assert max(later) <= MISS_SECONDS
    assert ratio <= 1.02


def own_layer(image: FleetImage) -> tuple[str, int]:
    """Digest and size of the largest layer for this machine's platform."""
    manifest = image.members["linux/amd64"].decode()
    layers = {digest: len(data) for digest, data in image.blobs.items() if digest in manifest}
    digest = max(layers, key=lambda one: layers[one])
    return digest, layers[digest]


def attempt(node: Containerd, image: FleetImage) -> grpc.StatusCode:
    """Pull; return how it ended."""
    try:
        node.pull(f"{image.name}:{TAG}")
    except grpc.RpcError as exc:
        code: grpc.StatusCode = exc.code()
        return code
    return grpc.StatusCode.OK


def pull_all(node: Containerd, held: list[FleetImage]) -> float:
    """Pull what is held, by tag and by digest, each from nothing; return the longest time."""
    took = []
    for image in held:
        for name in (f"{image.name}:{TAG}", f"{image.name}@{image.digest}"):
            begin = time.monotonic()
            assert f"{image.name}@{image.digest}" in node.pulled(name)
            took.append(time.monotonic() - begin)
            node.forget(name, [digest_of(data) for _, _, data in image.manifests])
    return max(took)


def missed(node: Containerd, server: Ours, image: FleetImage) -> float:
    """Pull what is not held, which must fail as unavailable; return how long that took."""
    begin = time.monotonic()
    assert attempt(node, image) is not grpc.StatusCode.OK
    took = time.monotonic() - begin
    path = f"/v2/{image.name}/manifests/{TAG}"
    assert server.server.request("GET", path).status_code == 503
    return took
