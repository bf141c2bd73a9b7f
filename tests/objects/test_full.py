"""An object store without room: pushes end with 507, pulls go on, and all is well when it has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import disks
from tests.faults.images import Call, assert_pulls, live, make_image, push, push_blob
from tests.figures import record
from tests.live import Server, running, start_server, wait_for
from tests.objects.servers import ObjectStore, minio
from tests.protocol.upstream import IMAGE, table, upstream
from tests.proxy.scripted import scripted
from tests.proxy.world import CONFIG, LAYER, digest

pytestmark = pytest.mark.fault

MIB = 1 << 20
SIZE, INODES = 64 * MIB, 20_000
OLD, NEW = make_image("old", 200_000), make_image("new", 200_000)
PULLED = "/v2/up.site/team/app"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small_disk("ext4", tmp_path, SIZE, INODES) as point:
        yield point


@pytest.fixture
def small(disk: Path) -> Iterator[ObjectStore]:
    """A MinIO whose disk can be full."""
    store = minio(disk / "minio")
    yield store
    store.kill()


@pytest.fixture
def server(small: ObjectStore, tmp_path: Path) -> Iterator[Server]:
    with scripted(upstream) as site:
        arguments = ("--workers", "1", "--config", table(tmp_path, site.url))
        started = start_server(tmp_path / "server", *arguments, storage=small.url())
        with running(started) as server:
            yield server


def test_full(server: Server, disk: Path) -> None:
    call = live(server)
    push(call, "a/old", "v1", OLD)
    filler = disks.fill_bytes(disk)
    wait_for(lambda: is_full(call), 30, "an object store that says that it is full")
    answer = push_blob(call, "a/new", NEW.layer)
    assert (answer.status, answer.error) == (507, "DENIED")
    assert b"no room is left" in answer.body
    assert_pulls(call, "a/old", "v1", OLD)
    pull_through(call)
    assert call("GET", "/readyz").status == 200
    disks.empty(filler)
    wait_for(lambda: push_blob(call, "a/new", NEW.layer).status == 201, 30, "room")
    push(call, "a/new", "v1", NEW)
    assert_pulls(call, "a/new", "v1", NEW)
    record(
        "R-04",
        "a MinIO without room: a push, a pull, a pull through, room again",
        "clean 507; pulls go on, also of what is not held; recovers without restart",
        "507, every pull whole, recovered",
    )


def is_full(call: Call) -> bool:
    return push_blob(call, "a/new", NEW.layer).status == 507


def pull_through(call: Call) -> None:
    """What the store has no room for is handed on."""
    answer = call("GET", f"{PULLED}/manifests/v1")
    assert (answer.status, answer.body) == (200, IMAGE)
    for data in (CONFIG, LAYER):
        answer = call("GET", f"{PULLED}/blobs/{digest(data)}")
        assert (answer.status, answer.whole, answer.body) == (200, True, data)
