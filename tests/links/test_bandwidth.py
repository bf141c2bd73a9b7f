"""An upstream with max_bytes_per_second: a bound of the node, however many fetch and ask."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.counts import count
from tests.figures import record
from tests.links.images import Image, make_image
from tests.links.ours import ours, table
from tests.links.readers import Reader, Reading, crowd
from tests.links.relay import Relay
from tests.links.upstream import Upstream
from tests.live import wait_for

pytestmark = pytest.mark.fault

LIMIT = 4_000_000
SIZE = count(16, 60) * 1_000_000
MEASURED_FROM = LIMIT
"""A second's worth may come at once in the beginning."""
SECONDS = 4 * SIZE / LIMIT + 60


def test_two_images_share_the_limit(tmp_path: Path, link: Relay, upstream: Upstream) -> None:
    images = [make_image(tmp_path / "images", SIZE, n) for n in ("first", "second")]
    for number, image in enumerate(images):
        upstream.push(image, f"site/limited-{number}", "v1")
    wanted = [0, 0, 1]
    readings = [Reading(images[n].layer, images[n].size) for n in wanted]
    tables = table("docker.io", link.url, f"max_bytes_per_second = {LIMIT}")
    with ours(tmp_path / "ours", tables) as server:
        client = Reader(server.host, seconds=SECONDS)

        def pull(number: int) -> None:
            path = f"/v2/docker.io/site/limited-{wanted[number]}/blobs"
            client.read(f"{path}/{readings[number].digest}", readings[number])

        with crowd(len(wanted), pull, SECONDS):
            rate = measured(link, images)
    assert all(reading.right for reading in readings)
    assert [len(link.gets(image.layer)) for image in images] == [1, 1]
    record(
        "Bandwidth limit",
        f"2 images of {SIZE // 1_000_000} MB, 2 workers, 3 clients, max_bytes_per_second = {LIMIT}",
        "within 15 % of the limit",
        f"{rate / LIMIT:.2f} x the limit",
    )
    assert 0.85 < rate / LIMIT < 1.15


def measured(link: Relay, images: list[Image]) -> float:
    """Bytes a second that leave the upstream, from the first burst to the end."""

    def sent() -> int:
        return sum(link.sent(image.layer) for image in images)

    first = wait_for(lambda: (n := sent()) > MEASURED_FROM and n, SECONDS, "first second")
    begin = time.monotonic()
    wait_for(lambda: sent() >= sum(image.size for image in images), SECONDS, "end of both")
    return (sent() - first) / (time.monotonic() - begin)
