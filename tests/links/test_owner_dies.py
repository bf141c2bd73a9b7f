"""The worker that fetches a blob is killed or stopped in mid-blob: its readers do not notice."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.counts import count
from tests.figures import record
from tests.links.images import Image, make_image
from tests.links.ours import ours, table
from tests.links.owners import kill_owner, owner_of
from tests.links.readers import Reader, Reading, crowd
from tests.links.relay import Relay
from tests.links.upstream import Upstream
from tests.live import wait_for

pytestmark = pytest.mark.fault

CLIENTS, FEW = count(12, 50), count(4, 12)
SIZE = 64 << 20
NAME = "/v2/docker.io/site/dies"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Image:
    made = make_image(tmp_path_factory.mktemp("image"), SIZE, "dies")
    upstream.push(made, "site/dies", "v1")
    return made


@pytest.mark.parametrize("percent", [10, 50, 90])
def test_killed(tmp_path: Path, link: Relay, image: Image, percent: int) -> None:
    readings = [Reading(image.layer, image.size) for _ in range(CLIENTS)]
    held = (image.size * percent // 100) >> 20 << 20
    link.hold_at(held)
    with ours(tmp_path / "ours", table("docker.io", link.url)) as server:
        client = Reader(server.host)
        with crowd(CLIENTS, lambda number: client.read(path_of(image), readings[number])):
            wait_for(lambda: any(r.got == held for r in readings), 30, "held body")
            kill_owner(server, image.layer)
            link.release()
    assert all(reading.right for reading in readings)
    assert {answer for reading in readings for answer in reading.answers} <= {"200", "206"}
    ratio = link.sent(image.layer) / image.size
    record(
        "Owner killed",
        f"{CLIENTS} clients, cold blob of 64 MiB, kill -9 of the fetching worker at {percent} %",
        "upstream bytes <= 1.1 x size; every digest right",
        f"{ratio:.3f} x size, {resumed(readings)} clients resumed, every digest right",
    )
    assert ratio <= 1.1


def test_stopped(tmp_path: Path, link: Relay, image: Image) -> None:
    """SIGSTOP: it holds the lock and does nothing; who is connected to another worker goes on."""
    readings = [Reading(image.layer, image.size) for _ in range(FEW)]
    held = image.size // 2
    link.hold_at(held)
    with ours(tmp_path / "ours", table("docker.io", link.url)) as server:
        client = Reader(server.host, silence=10.0)
        with crowd(FEW, lambda number: client.read(path_of(image), readings[number]), 60):
            wait_for(lambda: any(r.got == held for r in readings), 30, "held body")
            owner = owner_of(server, image.layer)
            begin = time.monotonic()
            os.kill(owner, signal.SIGSTOP)
            link.release()
            try:
                wait_for(lambda: all(r.got == r.size for r in readings), 60, "end of all readers")
            finally:
                os.kill(owner, signal.SIGCONT)
            seconds = time.monotonic() - begin
    assert all(reading.right for reading in readings)
    record(
        "Owner stopped",
        f"{FEW} clients, cold blob of 64 MiB, SIGSTOP of the fetching worker at 50 %",
        "every client gets its bytes, from another worker or an uncached read",
        f"all digests right {seconds:.0f} s after, {resumed(readings)} clients asked again,"
        f" {link.sent(image.layer) / image.size:.2f} x size from upstream",
    )


def path_of(image: Image) -> str:
    return f"{NAME}/blobs/{image.layer}"


def resumed(readings: list[Reading]) -> int:
    return sum(len(reading.answers) > 1 for reading in readings)
