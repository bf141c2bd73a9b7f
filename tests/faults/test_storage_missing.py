"""A storage that is not there: missing at the start, unmounted or exchanged while serving.

Unavailable, never empty: 503 and not 404, nothing is written elsewhere, and it recovers by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from distserver.app import create_app, initialise_storage
from distserver.config import Config
from tests.faults import disks
from tests.faults.images import (
    Answer,
    Call,
    assert_pulls,
    digest_of,
    in_process,
    live,
    make_image,
    push,
    push_blob,
    push_manifest,
)
from tests.figures import record
from tests.live import Server, wait_for

pytestmark = pytest.mark.fault

IMAGE = make_image("kept")


def requests_of(call: Call) -> Iterator[Answer]:
    """One request of each kind."""
    yield call("GET", "/v2/a/b/manifests/v1")
    yield call("GET", f"/v2/a/b/manifests/{IMAGE.digest}")
    yield call("GET", f"/v2/a/b/blobs/{digest_of(IMAGE.layer)}")
    yield call("GET", "/v2/a/b/tags/list")
    yield call("GET", f"/v2/a/b/referrers/{IMAGE.digest}")
    yield call("GET", "/v2/_catalog")
    yield call("POST", "/v2/a/b/blobs/uploads/")
    yield push_blob(call, "a/b", IMAGE.layer)
    yield push_manifest(call, "a/b", "v2", IMAGE.manifest)
    yield call("DELETE", "/v2/a/b/manifests/v1")


def assert_unavailable(call: Call) -> int:
    """Every request is answered 503; return how many."""
    answers = list(requests_of(call))
    assert [(answer.status, answer.error) for answer in answers] == [(503, "UNAVAILABLE")] * 10
    assert call("GET", "/healthz").status == 200
    assert call("GET", "/v2/").status == 200
    return len(answers)


def ready(call: Call) -> Answer:
    return call("GET", "/readyz")


def problem(call: Call) -> str:
    """What /readyz says about the storage, once it has noticed."""
    return str(wait_for(lambda: json.loads(ready(call).body)["storage"]["problem"], 10, "notice"))


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A mount point over the directory "real", as an operator's volume would be."""
    point = tmp_path / "volume"
    for path in (point, tmp_path / "real"):
        path.mkdir()
    disks.run("mount", "--bind", tmp_path / "real", point)
    yield point
    while disks.unmounted(point, "-l"):
        pass


@pytest.fixture
def server(mounted: Path, start: Callable[..., Server]) -> Iterator[Server]:
    """A server over the mount that holds an image."""
    server = start(None, "--workers", "2", storage=mounted)
    push(live(server), "a/b", "v1", IMAGE)
    yield server
    assert "Traceback" not in server.log


def test_missing_at_the_first_start(tmp_path: Path) -> None:
    """Nothing is known of the storage yet: unready until one that is initialised appears."""
    storage = (str(tmp_path / "storage"),)
    app = create_app(Config(storage=storage, state=str(tmp_path / "state"), reserve_bytes=0))
    with app.test_client() as client:
        call = in_process(client)
        assert ready(call).status == 503
        assert_unavailable(call)
        assert not (tmp_path / "storage").exists()
        initialise_storage(Config(storage=storage, state=str(tmp_path / "elsewhere")))
        wait_for(lambda: ready(call).status == 200, 10, "readiness")
        push(call, "a/b", "v1", IMAGE)
        assert_pulls(call, "a/b", "v1", IMAGE)


def test_missing_at_a_later_start(tmp_path: Path, start: Callable[..., Server]) -> None:
    """Even --init makes no new storage where one is remembered; no restart is needed."""
    directory = tmp_path / "server"
    server = start(directory)
    push(live(server), "a/b", "v1", IMAGE)
    assert server.stop() == 0
    server.storage.rename(tmp_path / "away")
    server = start(directory)
    assert ready(live(server)).status == 503
    count = assert_unavailable(live(server))
    assert not server.storage.exists()
    (tmp_path / "away").rename(server.storage)
    wait_for(lambda: ready(live(server)).status == 200, 10, "readiness")
    assert_pulls(live(server), "a/b", "v1", IMAGE)
    record(
        "storage missing at start",
        "directory away, then back, under a running server",
        "unready, 503 and never 404; recovers without restart",
        f"/readyz 503, {count} of {count} requests 503, then ready and every pull whole",
    )


def test_empty_mount_point_at_the_start(
    mounted: Path, server: Server, start: Callable[..., Server]
) -> None:
    assert server.stop() == 0
    disks.run("umount", mounted)
    server = start(server.directory, storage=mounted)
    assert ready(live(server)).status == 503
    assert_unavailable(live(server))
    assert list(mounted.iterdir()) == []
    disks.run("mount", "--bind", mounted.parent / "real", mounted)
    wait_for(lambda: ready(live(server)).status == 200, 10, "readiness")
    assert_pulls(live(server), "a/b", "v1", IMAGE)


def test_unmounted_while_serving(mounted: Path, server: Server) -> None:
    """The empty mount point is no empty storage; readiness stays, the body tells the outage."""
    call = live(server)
    assert ready(call).status == 200
    disks.run("umount", "-l", mounted)
    count = assert_unavailable(call)
    assert problem(call)
    assert list(mounted.iterdir()) == []
    disks.run("mount", "--bind", mounted.parent / "real", mounted)
    assert_pulls(call, "a/b", "v1", IMAGE)
    record(
        "storage unmounted while serving",
        "umount, requests of ten kinds, mount",
        "503 and never 404; nothing written below; recovers",
        f"{count} of {count} requests 503, mount point left empty, recovered at once",
    )


def test_exchanged_while_serving(mounted: Path, server: Server, tmp_path: Path) -> None:
    """Another storage in the same place is not ours, although it is a good one."""
    other = tmp_path / "other"
    initialise_storage(Config(storage=(str(other),), state=str(tmp_path / "other-state")))
    before = sorted(other.rglob("*"))
    call = live(server)
    disks.run("mount", "--bind", other, mounted)
    count = assert_unavailable(call)
    assert "another storage" in problem(call)
    assert sorted(other.rglob("*")) == before
    disks.run("umount", "-l", mounted)
    assert_pulls(call, "a/b", "v1", IMAGE)
    record(
        "storage exchanged while serving",
        "another initialised storage mounted over it",
        "503; nothing written to it; recovers",
        f"{count} of {count} requests 503, the other untouched, recovered at once",
    )


def test_exchanged_before_the_start(
    mounted: Path, server: Server, start: Callable[..., Server], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    initialise_storage(Config(storage=(str(other),), state=str(tmp_path / "other-state")))
    assert server.stop() == 0
    disks.run("mount", "--bind", other, mounted)
    server = start(server.directory, storage=mounted)
    assert ready(live(server)).status == 503
    assert "another storage" in problem(live(server))
    assert_unavailable(live(server))


def test_exchanged_after_a_first_start_without_storage(tmp_path: Path) -> None:
    """The first storage that appears is the one from then on."""
    path = tmp_path / "storage"
    app = create_app(Config(storage=(str(path),), state=str(tmp_path / "s"), reserve_bytes=0))
    with app.test_client() as client:
        call = in_process(client)
        initialise_storage(Config(storage=(str(path),), state=str(tmp_path / "s1")))
        push(call, "a/b", "v1", IMAGE)
        path.rename(tmp_path / "away")
        initialise_storage(Config(storage=(str(path),), state=str(tmp_path / "s2")))
        assert_unavailable(call)
        path.rename(tmp_path / "other")
        (tmp_path / "away").rename(path)
        assert_pulls(call, "a/b", "v1", IMAGE)
