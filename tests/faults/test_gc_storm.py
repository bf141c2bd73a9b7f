"""Garbage is collected without a margin, beside pushes, pulls and kills."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.counts import count
from tests.faults.images import live
from tests.faults.storm import blowing, check
from tests.figures import record
from tests.live import Server, kill, start_server, storage_flags

SECONDS = count(5, 1200)
NO_MARGIN = {
    "DISTSERVER_GC_INTERVAL_SECONDS": "1",
    "DISTSERVER_GC_GRACE_SECONDS": "0",
    "DISTSERVER_GC_HOLD_SECONDS": "0",
    "DISTSERVER_GC_SETTLE_SECONDS": "0",
}
pytestmark = pytest.mark.fault


@pytest.mark.parametrize("replicas", count([3], [1, 3]))
def test_nothing_acknowledged_goes(tmp_path: Path, replicas: int) -> None:
    places = tuple(str(tmp_path / f"storage{number}") for number in range(replicas))
    storm_over(tmp_path, places, f"a set of {replicas}" if replicas > 1 else "a directory")


def storm_over(directory: Path, places: tuple[str, ...], where: str) -> None:
    """Let two servers share a storage in a storm, kill their workers, and look at what is left."""
    servers = [
        start_server(directory / name, "--workers", "2", storage=places, env=NO_MARGIN)
        for name in "ab"
    ]
    try:
        with blowing(servers, where) as storm:
            kills, runs = _trouble(servers, places, where)
        call = live(servers[0])
        assert storm.wrong == []
        assert [found for image in storm.images.values() if (found := check(call, image))] == []
        done = _command(servers[0], places, "verify").communicate(timeout=600)
        assert b"DAMAGED" not in done[0], done
    finally:
        for server in servers:
            server.kill()
    assert not any("Traceback" in server.log for server in servers)
    record(
        "storm",
        f"GC without any margin in a loop on {where}, two servers, 16 pushers and 16 pullers of"
        f" shared layers for {SECONDS} s, workers and collectors killed at random",
        "0 acknowledged images unpullable, verify clean",
        f"0 of {len(storm.images)} left images and of {storm.pulls} pulls; {storm.pushes} pushes,"
        f" {storm.refused} begun again, {storm.deletes} deletes, {kills} kills, {runs} runs beside"
        " those of the servers",
    )


def _trouble(servers: list[Server], places: tuple[str, ...], seed: str) -> tuple[int, int]:
    """Kill workers, and collectors of the command line that run beside them."""
    rng, until, kills, runs = random.Random(seed), time.monotonic() + SECONDS, 0, 0
    while time.monotonic() < until:
        if workers := rng.choice(servers).workers():
            kill(rng.choice(workers))
        command = _command(servers[0], places, "gc")
        if killed := rng.random() < 0.3:
            time.sleep(rng.uniform(0.2, 1.5))
            command.kill()
        _, err = command.communicate(timeout=300)
        assert b"Traceback" not in err, err
        kills, runs = kills + 1 + killed, runs + (command.returncode == 0)
        time.sleep(rng.uniform(0.2, 2))
    assert runs, "no run came to its end"
    return kills, runs


def _command(server: Server, places: tuple[str, ...], name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "distserver", name, *storage_flags(places)),
            *("--state", str(server.directory / "state")),
        ],
        env={**os.environ, "DISTSERVER_RESERVE_BYTES": "0", **NO_MARGIN},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
