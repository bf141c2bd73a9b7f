"""kill -9 of workers and of the master during pushes: nothing acknowledged is lost."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from backends import open_backend
from backends.base import Sweeps
from tests.counts import count
from tests.faults.pushing import pushing, verify
from tests.figures import record
from tests.live import Server, kill, start_server, wait_for

ROUNDS = count(5, 10)
"""A storage is used for so many kills; BATCHES storages make the whole experiment."""
BATCHES = count(1, 10)


@pytest.fixture(scope="module")
def totals():
    """Kills, acknowledgements and losses over all batches, recorded at the end."""
    sums = {"kills": 0, "masters": 0, "acknowledged": 0, "lost": 0}
    yield sums
    record(
        "R-01",
        f"kill -9 of a random worker or the master during 8 parallel pushes, {sums['kills']} times",
        "0 acknowledged lost, verify clean each time",
        f"{sums['lost']} of {sums['acknowledged']} acknowledged entries lost,"
        f" {sums['masters']} kills were of the master",
    )


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_kill_loses_nothing_acknowledged(
    tmp_path: Path, batch: int, totals: dict[str, int]
) -> None:
    rng = random.Random(batch)
    server = start_server(tmp_path, "--workers", "2")
    acknowledged = None
    try:
        for number in range(ROUNDS):
            master = rng.random() < 0.3
            with pushing(server, f"{batch} {number}", acknowledged) as acknowledged:
                threading.Event().wait(rng.uniform(0.1, 1.2))
                before = server.workers()
                kill(server.pid if master else rng.choice(before))
            if master:
                server = _started_again(server, before)
            else:
                _await_two_workers(server)
            lost = acknowledged.lost(server)
            totals["kills"] += 1
            totals["masters"] += master
            totals["acknowledged"] += len(acknowledged)
            totals["lost"] += len(lost)
            assert lost == []
            assert verify(server) == ""
    finally:
        server.kill()
        server.session.close()
    assert "Traceback" not in server.log
    _sweeps_clean(server)


def _await_two_workers(server: Server) -> None:
    wait_for(lambda: len(server.workers()) == 2, 30, "a new worker")


def _started_again(server: Server, orphans: list[int]) -> Server:
    """Start again once the workers of the killed master have noticed and gone."""
    server.process.wait(30)
    wait_for(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans), 60, "end of orphans"
    )
    return server.restart()


def _sweeps_clean(server: Server) -> None:
    backend = open_backend(*server.places)
    assert isinstance(backend, Sweeps)
    backend.sweep(0)
    for place in server.places:
        assert list(Path(place, "tmp").iterdir()) == []
