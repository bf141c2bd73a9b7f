"""Many clients want one blob that nobody has pulled yet: it is fetched once for all of them."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from tests.counts import count
from tests.faults.images import digest_of, live, push
from tests.faults.images import make_image as make_small_image
from tests.figures import record
from tests.links.images import Image, make_image
from tests.links.ours import ours, table
from tests.links.readers import Reader, Reading, crowd, percentile
from tests.links.relay import Relay
from tests.links.upstream import Upstream
from tests.live import wait_for

pytestmark = pytest.mark.fault

CLIENTS = 50
SIZE = count(16, 64) << 20
NAME = "/v2/docker.io/site/fan"
HELD_AT = 1 << 20
"""The upstream stops here until every client has its first byte."""
HELD = make_small_image("held")
FIRST_SECONDS = 3.0
"""Asserted with slack; the aim is 1 s."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Image:
    made = make_image(tmp_path_factory.mktemp("image"), SIZE, "fan out")
    upstream.push(made, "site/fan", "v1")
    return made


@pytest.mark.parametrize("manifest_first", [True, False], ids=["image", "blob alone"])
def test_one_fetch_for_all(tmp_path: Path, link: Relay, image: Image, manifest_first: bool) -> None:
    link.hold_at(HELD_AT)
    readings = [Reading(image.layer, image.size) for _ in range(CLIENTS)]
    with ours(tmp_path / "ours", table("docker.io", link.url)) as server:
        client = Reader(server.host)

        def pull(number: int) -> None:
            if manifest_first:
                assert client.get(f"{NAME}/manifests/v1") == (200, image.manifest)
            client.read(f"{NAME}/blobs/{image.layer}", readings[number])

        begin = time.monotonic()
        with crowd(CLIENTS, pull):
            wait_for(lambda: all(r.first is not None for r in readings), 30, "first byte of all")
            link.release()
        seconds = time.monotonic() - begin
    assert all(reading.right for reading in readings)
    assert {answer for reading in readings for answer in reading.answers} == {"200"}
    assert len(link.gets(image.layer)) == 1
    assert link.sent(image.layer) == image.size
    report(readings, seconds, "image by tag" if manifest_first else "blob alone")


def test_others_are_served_meanwhile(tmp_path: Path, link: Relay, image: Image) -> None:
    """Who waits for the link takes nothing from those whose image is held."""
    readings = [Reading(image.layer, image.size) for _ in range(CLIENTS)]
    path = f"{NAME}/blobs/{image.layer}"
    with ours(tmp_path / "ours", table("docker.io", link.url)) as server:
        push(live(server.server), "own/app", "v1", HELD)
        client, impatient = Reader(server.host), Reader(server.host, silence=2.0)
        link.hold_at(HELD_AT)
        with crowd(CLIENTS, lambda number: client.read(path, readings[number])):
            wait_for(lambda: link.sent(image.layer) == HELD_AT, 30, "held body")
            for _ in range(10):
                assert impatient.get("/healthz")[0] == 200
                assert impatient.get("/v2/own/app/manifests/v1") == (200, HELD.manifest)
                layer = f"/v2/own/app/blobs/{digest_of(HELD.layer)}"
                assert impatient.get(layer) == (200, HELD.layer)
            link.release()
    assert all(reading.right for reading in readings)


def test_bytes_are_passed_on_as_they_come(tmp_path: Path, link: Relay, image: Image) -> None:
    """On a slow link a client sees each packet soon, or takes us for dead."""
    reading = Reading(image.layer, image.size)
    path = f"{NAME}/blobs/{image.layer}"
    with ours(tmp_path / "ours", table("docker.io", link.url)) as server:
        link.hold_at(1)
        with crowd(1, lambda _: Reader(server.host).read(path, reading)):
            for offset in (1, 1500, 3000, 100_000, 300_001):
                link.hold_at(offset)
                wait_for(partial(has, reading, offset), 5, f"byte {offset}")
            link.release()
    assert reading.right


def has(reading: Reading, count: int) -> bool:
    return reading.got == count


def report(readings: list[Reading], seconds: float, what: str) -> None:
    first = percentile([reading.first or 0.0 for reading in readings], 0.99)
    record(
        "Cold fan-out",
        f"{CLIENTS} clients, 2 workers, one cold blob of {SIZE >> 20} MiB, {what}",
        "exactly 1 upstream GET, bytes <= 1.01 x size; first byte p99 < 1 s",
        f"1 GET, 1.00 x size, digests right; first byte p99 {first:.2f} s, all {seconds:.1f} s",
    )
    assert first < FIRST_SECONDS
