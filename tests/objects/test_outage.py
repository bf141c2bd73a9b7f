"""A server on an object store that is killed, and servers that are killed on it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.counts import count
from tests.faults.images import digest_of, live, make_image, push
from tests.faults.pushing import pushing
from tests.figures import record
from tests.live import Server, kill, start_server, wait_for
from tests.objects.servers import ObjectStore

ROUNDS = count(1, 20)
KILLS = count(2, 100)


@pytest.fixture
def server(own: ObjectStore, tmp_path: Path) -> Iterator[Server]:
    server = start_server(tmp_path / "server", "--workers", "2", storage=own.url())
    yield server
    server.kill()
    assert "Traceback" not in server.log


def test_kills_of_the_object_store_lose_nothing(own: ObjectStore, server: Server) -> None:
    rng, acknowledged, lost, sums = random.Random(1), None, 0, 0
    for number in range(ROUNDS):
        with pushing(server, f"outage {number}", acknowledged, threads=4) as acknowledged:
            threading.Event().wait(rng.uniform(0.3, 2))
            own.kill()
            threading.Event().wait(rng.uniform(0, 1))
            own.start()
        lost += len(acknowledged.lost(server))
        sums += len(acknowledged)
    record(
        "S3",
        f"MinIO killed and restarted during 4 parallel pushes, {ROUNDS} times",
        "0 acknowledged lost",
        f"{lost} of {sums} acknowledged entries lost",
    )
    assert lost == 0 and sums > ROUNDS


def test_kills_of_workers_lose_nothing(server: Server) -> None:
    rng, acknowledged, lost, sums = random.Random(2), None, 0, 0
    for number in range(KILLS):
        with pushing(server, f"worker {number}", acknowledged, threads=4) as acknowledged:
            threading.Event().wait(rng.uniform(0.1, 1))
            kill(rng.choice(server.workers()))
        wait_for(lambda: len(server.workers()) == 2, 30, "a new worker")
        lost += len(acknowledged.lost(server))
        sums += len(acknowledged)
    record(
        "S3",
        f"kill -9 of a random worker during 4 parallel pushes to MinIO, {KILLS} times",
        "0 acknowledged lost",
        f"{lost} of {sums} acknowledged entries lost",
    )
    assert lost == 0 and sums > KILLS


def test_while_it_is_away_answers_are_503_and_soon(own: ObjectStore, server: Server) -> None:
    call, image = live(server), make_image("away", 300_000)
    push(call, "a/b", "v1", image)
    blob = f"/v2/a/b/blobs/{digest_of(image.layer)}"
    own.kill()
    for method, path in (("GET", blob), ("GET", "/v2/a/b/manifests/v1"), ("HEAD", blob)):
        began = time.monotonic()
        assert call(method, path).status == 503
        assert time.monotonic() - began < 15
    began = time.monotonic()
    assert call("GET", "/healthz").status == call("GET", "/v2/").status == 200
    assert time.monotonic() - began < 1
    own.start()
    assert call("GET", blob).body == image.layer


def test_a_server_that_starts_without_it_serves_once_it_is_there(
    own: ObjectStore, server: Server
) -> None:
    image = make_image("cold start", 300_000)
    push(live(server), "a/b", "v1", image)
    storage = server_storage(server)
    server.stop()
    own.kill()
    again = start_server(server.directory, "--workers", "1", storage=storage)
    try:
        call = live(again)
        assert call("GET", "/v2/a/b/manifests/v1").status == 503
        own.start()
        assert call("GET", "/v2/a/b/manifests/v1").body == image.manifest
    finally:
        again.kill()


def server_storage(server: Server) -> str:
    """URL that a server was started with."""
    arguments = Path(f"/proc/{server.pid}/cmdline").read_text().split("\0")
    return arguments[arguments.index("--storage") + 1]
