"""Three processes over one storage behind a round-robin proxy agree with every acknowledgement."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from tests.counts import count
from tests.faults.images import Call, digest_of, live, make_image, push_blob, push_manifest
from tests.figures import record
from tests.haproxy import round_robin
from tests.live import Server, start_server

PAIRS = count(72 if "TEST_STORAGES" in os.environ else 300, 5000)
THREADS = 4
PAIRS_A_TURN = 6


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Server]:
    """A server whose url is that of a haproxy before three servers over one storage."""
    with ExitStack() as stack:
        servers = []
        for number in range(3):
            server = start_server(
                tmp_path / str(number), "--workers", "1", storage=tmp_path / "storage"
            )
            stack.callback(server.session.close)
            stack.callback(server.kill)
            servers.append(server)
        proxy = round_robin(tmp_path / "haproxy", servers)
        stack.callback(proxy.stop)
        yield replace(servers[0], url=proxy.url)
        assert not any("Traceback" in server.log for server in servers)


def test_what_was_acknowledged_is_seen_by_every_process(front: Server) -> None:
    turns = -(-PAIRS // (THREADS * PAIRS_A_TURN))
    with ThreadPoolExecutor(THREADS) as pool:
        violations = sum(pool.map(lambda n: _turns(front, f"rw/{n}", turns), range(THREADS)), [])
    record(
        "R-15",
        f"read-your-writes over three processes, round-robin,"
        f" {turns * THREADS * PAIRS_A_TURN} pairs",
        "0 violations",
        f"{len(violations)} violations",
    )
    assert violations == []


def _turns(front: Server, name: str, turns: int) -> list[str]:
    mine = replace(front, session=requests.Session())
    found: list[str] = []
    for turn in range(turns):
        found += pairs(live(mine), name, f"{name} {turn}")
    mine.session.close()
    return found


def pairs(call: Call, name: str, seed: str) -> list[str]:
    """Six pairs of a write and the read that must see it; what did not is returned."""
    image, found = make_image(seed), []
    at = f"/v2/{name}/manifests/"

    def expect(step: str, good: bool) -> None:
        if not good:
            found.append(f"{seed}: {step}")

    for blob in image.blobs:
        path = f"/v2/{name}/blobs/{digest_of(blob)}"
        assert call("HEAD", path).status == 404  # so that a cache has something to be wrong about
        assert push_blob(call, name, blob).status == 201
        expect("blob", call("HEAD", path).status == 200)
    assert push_manifest(call, name, "moving", image.manifest).status == 201
    expect("moved tag", call("GET", at + "moving").body == image.manifest)
    other = json.dumps({**json.loads(image.manifest), "annotations": {"turn": seed}}).encode()
    assert push_manifest(call, name, "moving", other).status == 201
    expect("tag moved again", call("GET", at + "moving").body == other)
    assert call("DELETE", at + "moving").status == 202
    expect("deleted tag", call("GET", at + "moving").status == 404)
    assert call("DELETE", at + image.digest).status == 202
    expect("deleted manifest", call("GET", at + image.digest).status == 404)
    return found
