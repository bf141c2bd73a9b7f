"""The cable is out for longer than anybody waits, in mid-blob; then it is in again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.counts import count
from tests.figures import record
from tests.links.conftest import Site
from tests.links.images import make_image
from tests.links.netns import inside
from tests.links.ours import ours, table
from tests.links.readers import Reader, Reading, crowd
from tests.links.upstream import Upstream
from tests.live import wait_for

pytestmark = pytest.mark.fault

SIZE = 16 << 20
NAME = "/v2/docker.io/site/away"
DOWN_SECONDS = count(40, 120)
CUT_SECONDS = 35.0
"""A reader is closed short after so long without progress, at the latest."""
BACK_SECONDS = 60.0
"""From link up to the whole blob, with all pauses between tries."""


def test_link_down_and_up(tmp_path: Path, site: Site, upstream: Upstream) -> None:
    image = make_image(tmp_path / "image", SIZE, "away")
    upstream.push(image, "site/away", "v1")
    reading = Reading(image.layer, image.size)
    site.relay.hold_at(SIZE // 2)
    with inside(site.link.near), ours(tmp_path, table("docker.io", site.relay.url)) as server:
        client = Reader(server.host, silence=2 * CUT_SECONDS)
        assert client.get(f"{NAME}/manifests/v1") == (200, image.manifest)
        with crowd(1, lambda _: client.once(f"{NAME}/blobs/{image.layer}", reading)):
            wait_for(lambda: reading.got == SIZE // 2, 30, "half of the blob")
            down = time.monotonic()
            site.link.down()
            site.relay.release()
        cut = reading.ended[0] - down
        client.once(f"{NAME}/blobs/{image.layer}", reading)
        missing = client.get(f"{NAME}/manifests/other")[0]
        wait_for(lambda: time.monotonic() > down + DOWN_SECONDS, DOWN_SECONDS, "long outage")
        site.link.up()
        up = time.monotonic()
        wait_for(lambda: server.partial(image.layer) is None, BACK_SECONDS, "complete blob")
        back = time.monotonic() - up
        assert client.read(f"{NAME}/blobs/{image.layer}", reading).right
    # Closed by FIN, since a reset would fail containerd; its next try is told to go elsewhere.
    assert reading.answers == ["200", "503", "206"]
    assert missing == 503
    report(cut, back, site.relay.sent(image.layer) / image.size)


def report(cut: float, back: float, ratio: float) -> None:
    record(
        "Link down",
        f"link down in mid-blob for {DOWN_SECONDS} s, then up; nobody asks again",
        "closed short in <= 35 s, the fetch is taken up by itself and completes",
        f"closed by FIN after {cut:.0f} s, complete {back:.0f} s after the link was up,"
        f" {ratio:.2f} x size from upstream",
    )
    assert cut <= CUT_SECONDS
