"""A large blob over a slow link that breaks again and again, and a server that restarts meanwhile.

What has come stays: the link is paid for by the byte.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.counts import count
from tests.figures import record
from tests.links.conftest import Site
from tests.links.images import Image, make_image
from tests.links.netns import inside
from tests.links.ours import Ours, ours, table
from tests.links.readers import Reader, Reading, crowd
from tests.links.upstream import Upstream
from tests.live import wait_for

pytestmark = [pytest.mark.fault, pytest.mark.slow]

SIZE = count(60, 500) * 1_000_000
RATE_MBIT = count(100, 20)
CUT_AFTER = count(10, 50) * 1_000_000
SECONDS = 3 * SIZE * 8 / RATE_MBIT / 1e6 + 120
"""Three times what the link itself needs, and some for restarts."""
NAME = "/v2/docker.io/site/large"
ENV = {"DISTSERVER_GRACEFUL_TIMEOUT_SECONDS": "1"}
EXPERIMENT = (
    f"{SIZE // 1_000_000} MB over {RATE_MBIT} Mbit/s, cut every {CUT_AFTER // 1_000_000} MB,"
    " SIGTERM at 1/3, kill -9 at 2/3"
)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Image:
    made = make_image(tmp_path_factory.mktemp("image"), SIZE, "large")
    upstream.push(made, "site/large", "v1")
    return made


@pytest.fixture
def thin(site: Site) -> Site:
    """The site, its link slow, every body cut by FIN and RST in turn."""
    site.link.limit(f"{RATE_MBIT}mbit")
    site.relay.cut_after, site.relay.cut_by = CUT_AFTER, "both"
    return site


def test_a_client_that_asks_again(tmp_path: Path, thin: Site, image: Image) -> None:
    """It takes up with a Range whatever ends short, as containerd does."""
    reading = Reading(image.layer, image.size)
    path, begin = f"{NAME}/blobs/{image.layer}", time.monotonic()
    with inside(thin.link.near), proxy(tmp_path, thin) as server:
        client = Reader(server.host, seconds=SECONDS)
        with crowd(1, lambda _: client.read(path, reading), SECONDS):
            restart_twice(server, thin, image)
    assert reading.right
    report(thin, image, "the client asks again", begin)


def test_nobody_asks_again(tmp_path: Path, thin: Site, image: Image) -> None:
    """Its manifest was pulled: that is enough for the rest to come."""
    begin = time.monotonic()
    with inside(thin.link.near), proxy(tmp_path, thin) as server:
        client = Reader(server.host)
        assert client.get(f"{NAME}/manifests/v1") == (200, image.manifest)
        restart_twice(server, thin, image)
        wait_for(lambda: server.partial(image.layer) is None, SECONDS, "complete blob")
        thin.link.down()
        assert client.get(f"{NAME}/manifests/v1") == (200, image.manifest)
        reading = client.read(f"{NAME}/blobs/{image.layer}", Reading(image.layer, image.size))
        assert reading.right
    report(thin, image, "nobody asks after the restarts", begin)


def proxy(directory: Path, thin: Site) -> AbstractContextManager[Ours]:
    return ours(directory, table("docker.io", thin.relay.url), env=ENV)


def restart_twice(server: Ours, thin: Site, image: Image) -> None:
    wait_for(lambda: thin.relay.sent(image.layer) > image.size // 3, SECONDS, "first third")
    server.stop_and_start()
    wait_for(lambda: thin.relay.sent(image.layer) > 2 * image.size // 3, SECONDS, "second third")
    server.kill_and_start()


def report(thin: Site, image: Image, who: str, begin: float) -> None:
    ratio = thin.relay.sent(image.layer) / image.size
    record(
        "Broken link",
        f"{EXPERIMENT}, {who}",
        "completes; upstream bytes <= 1.02 x size",
        f"complete after {time.monotonic() - begin:.0f} s and {thin.relay.cuts} cuts,"
        f" {ratio:.3f} x size, digest right",
    )
    assert ratio <= 1.02
