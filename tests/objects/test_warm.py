"""What a node asks the object store when it pulls what it has hot copies of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.images import assert_pulls, digest_of, live, make_image, push
from tests.figures import record
from tests.live import Server, start_server
from tests.objects.servers import ObjectStore
from tests.upstreams.proxy import FaultProxy, fault_proxy

IMAGE = make_image("warm", 300_000)
PATHS = {
    "manifest by tag": "/v2/a/b/manifests/v1",
    "manifest by digest": f"/v2/a/b/manifests/{IMAGE.digest}",
    "blob": f"/v2/a/b/blobs/{digest_of(IMAGE.layer)}",
}
ASKED = {"manifest by tag": 2, "manifest by digest": 1, "blob": 1}
"""Requests for each pull, without those for the storage's identity, one a second."""


@pytest.fixture
def proxy(own: ObjectStore) -> Iterator[FaultProxy]:
    with fault_proxy(("127.0.0.1", own.port)) as proxy:
        yield proxy


@pytest.fixture
def node(own: ObjectStore, proxy: FaultProxy, tmp_path: Path) -> Iterator[Server]:
    server = start_server(tmp_path / "node", "--workers", "1", storage=own.url(proxy.url))
    yield server
    server.kill()


def test_a_warm_pull_asks_for_the_right_to_read_and_no_more(
    node: Server, proxy: FaultProxy
) -> None:
    call = live(node)
    push(call, "a/b", "v1", IMAGE)
    for reference in ("v1", IMAGE.digest):
        assert_pulls(call, "a/b", reference, IMAGE)
    found = {kind: _asked(node, proxy, path) for kind, path in PATHS.items()}
    record(
        "S3",
        "requests to the object store for a warm pull, by its kind",
        "who may read it and what a tag names, nothing else",
        ", ".join(f"{kind}: {count}" for kind, count in found.items()),
    )
    assert found == ASKED


def _asked(node: Server, proxy: FaultProxy, path: str) -> int:
    before = len(proxy.requests(""))
    assert live(node)("GET", path).status == 200
    new = proxy.requests("")[before:]
    return sum("_store" not in seen.path for seen in new)
