"""Offline mode under mixed traffic: what is held is served, what is not is refused, all is silent.

The server lives in a network namespace whose one way out is a link that counts its packets.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.counts import count
from tests.faults.images import digest_of as digest_of_bytes
from tests.faults.images import live, push
from tests.faults.images import make_image as make_small_image
from tests.figures import record
from tests.links.conftest import Site
from tests.links.images import Image, make_image
from tests.links.netns import Link, inside
from tests.links.ours import Ours, ours, table
from tests.links.readers import Reader
from tests.links.traffic import Question, Traffic, asked_and_held, asked_and_missed, send
from tests.links.upstream import Upstream
from tests.live import wait_for

pytestmark = pytest.mark.fault

SECONDS, SHORT = count(10, 300), count(3, 300)
MISS_SECONDS = 0.25
"""Asserted with slack; the aim is 50 ms."""
CLOSED_SECONDS = 5.0
"""From the change of mode; what stays open longer is a packet that leaves later."""
QUIET_SECONDS = 2.0
"""What the change of mode itself sends, the end of a connection, is over after so long."""
NAME, BEGUN = "/v2/docker.io/site/held", "/v2/docker.io/site/begun"
ENV = {
    "DISTSERVER_TAG_TTL_SECONDS": "1",
    "DISTSERVER_GRACEFUL_TIMEOUT_SECONDS": "1",
    "RES_OPTIONS": "timeout:1 attempts:1",  # nobody answers questions about names here
}
LOCAL = make_small_image("local")


@pytest.fixture
def held(tmp_path: Path, upstream: Upstream) -> Image:
    """An image that is pulled before the mode changes."""
    image = make_image(tmp_path / "images", 300_000, "held")
    upstream.push(image, "site/held", "v1")
    return image


@pytest.fixture
def begun(tmp_path: Path, upstream: Upstream) -> Image:
    """An image whose layer is on its way when the mode changes."""
    image = make_image(tmp_path / "images", 8 << 20, "begun")
    upstream.push(image, "site/begun", "v1")
    return image


def by_flag(server: Ours) -> None:
    server.server.stop()
    server.server.arguments += ("--offline",)
    server.server = server.server.restart()


def by_file(server: Ours) -> None:
    file = Path(server.server.env["DISTSERVER_CONFIG"])
    file.write_text('mode = "offline"\n' + file.read_text())
    server.stop_and_start()


def by_command(server: Ours) -> None:
    """At run time, under connections that are open."""
    command = [sys.executable, "-m", "distserver", "mode", "offline", "--state", str(server.state)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("go", "seconds"), [(by_flag, SHORT), (by_file, SHORT), (by_command, SECONDS)]
)
def test_nothing_leaves(
    tmp_path: Path,
    site: Site,
    held: Image,
    begun: Image,
    go: Callable[[Ours], None],
    seconds: float,
) -> None:
    link, tables = site.link, table("docker.io", site.relay.url)
    with inside(link.near), ours(tmp_path / "ours", tables, env=ENV) as server:
        online(server, site, held, begun)
        go(server)
        # One that stays open speaks again: when it is given up, or when the far end closes it.
        wait_for(lambda: link.connections() == 0, CLOSED_SECONDS, "end of the connections")
        quiet(link)
        before, datagrams = link.sent(), link.datagrams()
        traffic = send(server.host, questions(held, begun), seconds)
        packets, asked = link.sent() - before, link.datagrams() - datagrams
    assert not traffic.wrong
    assert (packets, asked) == (0, 0)
    report(go.__name__, seconds, traffic, packets)


def online(server: Ours, site: Site, held: Image, begun: Image) -> None:
    """Pull one image, begin another, push a third; and see that the link counts what leaves."""
    client = Reader(server.host)
    assert client.get(f"{NAME}/manifests/v1") == (200, held.manifest)
    assert client.get(f"{NAME}/blobs/{held.layer}")[0] == 200
    push(live(server.server), "site/local", "v1", LOCAL)
    assert client.get("/v2/quay.io/site/x/manifests/v1")[0] == 503  # there is no such name here
    assert site.link.sent() > 10
    assert site.link.datagrams() > 0
    site.relay.hold_at(4 << 20)
    assert client.get(f"{BEGUN}/manifests/v1") == (200, begun.manifest)
    wait_for(lambda: site.relay.sent(begun.layer) == 4 << 20, 10, "half of the blob")
    assert site.link.connections() > 0


def quiet(link: Link) -> None:
    """Wait until nothing has left for a while."""
    seen, since = link.sent(), time.monotonic()

    def silent() -> bool:
        nonlocal seen, since
        if (now := link.sent()) != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() > since + QUIET_SECONDS

    wait_for(silent, 20, "silence")


def questions(held: Image, begun: Image) -> list[Question]:
    layer = digest_of_bytes(LOCAL.layer)
    absent = "sha256:" + "5" * 64
    return [
        *asked_and_held(NAME, "v1", held.digest, held.layer),
        *asked_and_held("/v2/site/local", "v1", LOCAL.digest, layer),
        *asked_and_missed(NAME),
        *asked_and_missed("/v2/site/held", "?ns=docker.io"),
        *asked_and_missed("/v2/ghcr.io/a/b"),
        *asked_and_missed("/v2/a/b", "?ns=quay.io"),
        *asked_and_missed("/v2/a/b", "?ns=unknown.example"),
        *asked_and_missed("/v2/site/local"),
        Question("GET", f"{BEGUN}/manifests/v1", 404),  # its layer is not whole
        Question("GET", f"{BEGUN}/manifests/{begun.digest}", 404),
        Question("HEAD", f"{BEGUN}/blobs/{begun.layer}", 404),
        Question("GET", f"{NAME}/tags/list", 200),
        Question("GET", "/v2/ghcr.io/a/b/tags/list", 404),
        Question("GET", f"{NAME}/referrers/{held.digest}", 200),
        Question("GET", f"/v2/ghcr.io/a/b/referrers/{absent}", 200),
        Question("GET", "/v2/_catalog", 200),
        Question("GET", "/v2/", 200),
    ]


def report(how: str, seconds: float, traffic: Traffic, packets: int) -> None:
    record(
        "Offline",
        f"{seconds} s of hits and misses in a network namespace, offline {how.replace('_', ' ')}",
        "0 packets out; a miss answered in < 50 ms",
        f"{packets} packets; p99 of {len(traffic.misses)} misses {traffic.slow_miss * 1000:.0f} ms,"
        f" {len(traffic.hits)} hits, every answer right",
    )
    assert traffic.slow_miss < MISS_SECONDS
