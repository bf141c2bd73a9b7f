"""A real containerd pulls by CRI while the worker that fetches is killed: the pull never fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.containerd import Containerd, mirrored, running_containerd
from tests.counts import count
from tests.figures import record
from tests.links.images import make_image
from tests.links.ours import ours, table
from tests.links.owners import kill_owner
from tests.links.readers import crowd
from tests.links.relay import Relay
from tests.links.upstream import Upstream
from tests.live import wait_for

pytestmark = pytest.mark.fault

SIZE = 64 << 20
PERCENTS = (50, 10, 90)[: count(1, 3)]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    with running_containerd(tmp_path_factory.mktemp("c")) as running:
        yield running


@pytest.mark.parametrize("percent", PERCENTS)
def test_containerd_pulls_on(
    tmp_path: Path, upstream: Upstream, link: Relay, node: Containerd, percent: int
) -> None:
    name = f"site/cri-{percent}"
    image = make_image(tmp_path / "image", SIZE, name)
    upstream.push(image, name, "v1")
    held = (SIZE * percent // 100) >> 20 << 20
    link.hold_at(held)
    pulled: list[str] = []
    with ours(tmp_path / "ours", table("docker.io", link.url)) as server:
        node.hosts("_default", mirrored(server.server.url, server.server.url))
        with crowd(1, lambda _: pulled.extend(node.pulled(f"docker.io/{name}:v1"))):
            wait_for(lambda: link.sent(image.layer) == held, 30, "held body")
            kill_owner(server, image.layer)
            link.release()
    assert f"docker.io/{name}@{image.digest}" in pulled
    ratio = link.sent(image.layer) / image.size
    record(
        "Owner killed",
        f"containerd by CRI, layer of 64 MiB, kill -9 of the fetching worker at {percent} %",
        "the pull never fails; upstream bytes <= 1.1 x size",
        f"pulled, {ratio:.3f} x size",
    )
    assert ratio <= 1.1
