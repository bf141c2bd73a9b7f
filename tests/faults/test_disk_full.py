"""A storage without room, bytes or inodes, read-only, or with failing I/O.

Pushes end cleanly, pulls and deletes go on, and all is well again when the storage is, without a
restart.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import disks
from tests.faults.images import (
    Answer,
    Call,
    assert_pulls,
    assert_status,
    digest_of,
    live,
    make_image,
    push,
    push_blob,
    push_manifest,
)
from tests.figures import record
from tests.live import Server, wait_for

pytestmark = pytest.mark.fault

MIB = 1 << 20
SIZE, INODES, RESERVE = 64 * MIB, 4000, 8 * MIB
KEPT_INODES = 1000
MEASURED_FOR_SECONDS = 1.1
"""Each worker measures the room at most once a second."""
OLD, NEW, DOOMED = make_image("old", 200_000), make_image("new"), make_image("doomed")


@pytest.fixture(params=disks.KINDS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    with disks.small_disk(request.param, tmp_path, SIZE, INODES) as point:
        yield point


@pytest.fixture
def server(disk: Path, start: Callable[..., Server]) -> Iterator[Server]:
    """A server over the small disk that holds the images OLD and DOOMED."""
    env = {"DISTSERVER_RESERVE_BYTES": str(RESERVE)}
    server = start(None, "--workers", "2", storage=disk / "storage", env=env)
    push(live(server), "a/old", "v1", OLD)
    push(live(server), "a/doomed", "v1", DOOMED)
    yield server
    assert "Traceback" not in server.log
    assert server.stop() == 0


def after(seconds: float) -> Callable[[], bool]:
    """A probe that becomes true after so long."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def pushes(call: Call, session: str) -> Iterator[Answer]:
    """Each way to push, none of which can work now."""
    yield push_blob(call, "a/new", NEW.layer)
    yield call("POST", "/v2/a/new/blobs/uploads/")
    yield call("PATCH", session, NEW.layer)
    yield call("PUT", f"{session}?digest={digest_of(NEW.layer)}", NEW.layer)
    yield push_manifest(call, "a/old", "v2", OLD.manifest)


def assert_refused(call: Call, session: str, status: int, code: str) -> int:
    """Each push is refused so, while pulls go on; return how many requests that were."""
    wait_for(after(MEASURED_FOR_SECONDS), 10, "new measurement")
    answers = list(pushes(call, session))
    assert [(answer.status, answer.error) for answer in answers] == [(status, code)] * 5
    assert status != 507 or all(b"MiB are free" in answer.body for answer in answers)
    assert_pulls(call, "a/old", "v1", OLD)
    assert call("GET", "/readyz").status == 200
    return len(answers)


def assert_recovered(call: Call, session: str) -> None:
    """The session that was open before goes on, and everything can be pushed."""
    wait_for(after(MEASURED_FOR_SECONDS), 10, "new measurement")
    assert_status(call("PATCH", session, NEW.layer), 202)
    assert_status(call("PUT", f"{session}?digest={digest_of(NEW.layer)}"), 201)
    push(call, "a/new", "v1", NEW)
    assert_pulls(call, "a/new", "v1", NEW)
    assert_pulls(call, "a/old", "v1", OLD)


def assert_deletes(call: Call) -> None:
    assert_status(call("DELETE", "/v2/a/doomed/manifests/v1"), 202)
    assert_status(call("DELETE", f"/v2/a/doomed/manifests/{DOOMED.digest}"), 202)
    assert_status(call("DELETE", f"/v2/a/doomed/blobs/{digest_of(DOOMED.layer)}"), 202)
    assert_status(call("GET", f"/v2/a/doomed/manifests/{DOOMED.digest}"), 404)


def opened(call: Call) -> str:
    return call("POST", "/v2/a/new/blobs/uploads/").headers["Location"]


FILLERS = {"bytes": disks.fill_bytes, "inodes": disks.fill_inodes}


@pytest.mark.parametrize("what", FILLERS)
def test_full(what: str, disk: Path, server: Server, request: pytest.FixtureRequest) -> None:
    """R-04: full to the last byte or inode: 507, pulls go on, recovery when room returns."""
    call = live(server)
    session = opened(call)
    filler = FILLERS[what](disk)
    refused = assert_refused(call, session, 507, "DENIED")
    disks.empty(filler)
    assert_recovered(call, session)
    kind = request.node.callspec.params["disk"]
    record(
        "R-04",
        f"{what} full on {kind}: pushes of five kinds, pulls, recovery without restart",
        "clean 507; pulls 100 %; recovers",
        f"{refused} of {refused} refused with 507, every pull whole, recovered",
    )


@pytest.mark.parametrize(("what", "left"), [("bytes", RESERVE // 2), ("inodes", KEPT_INODES // 2)])
def test_the_reserve_keeps_deletes(what: str, left: int, disk: Path, server: Server) -> None:
    """Pushes stop at the reserve, so that a full disk can be emptied again."""
    call = live(server)
    session = opened(call)
    FILLERS[what](disk, left)
    assert_refused(call, session, 507, "DENIED")
    assert_deletes(call)


def test_full_in_mid_body(disk: Path, server: Server) -> None:
    """A body larger than the disk: 507, and its room is free again at once."""
    answer = send_endless(server, opened(live(server)), 2 * SIZE)
    assert (answer.status, answer.error) == (507, "DENIED")
    assert os.listdir(disk / "storage" / "tmp") == []
    assert_recovered(live(server), opened(live(server)))


def send_endless(server: Server, path: str, size: int) -> Answer:
    """Send size bytes, or as many as the server takes, and read its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("PATCH", path)
    connection.putheader("Content-Length", str(size))
    connection.endheaders()
    try:
        for _ in range(size // MIB):
            connection.send(b"\xaa" * MIB)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the answer may be there already
    try:
        response = connection.getresponse()
        return Answer(response.status, dict(response.headers), response.read())
    finally:
        connection.close()


def test_read_only(disk: Path, server: Server) -> None:
    """A storage that became read-only: 503, pulls go on, recovery when it is writable again."""
    call = live(server)
    session = opened(call)
    disks.remount(disk, "ro")
    assert_refused(call, session, 503, "UNAVAILABLE")
    assert call("DELETE", "/v2/a/doomed/manifests/v1").error == "UNAVAILABLE"
    disks.remount(disk, "rw")
    assert_recovered(call, session)
    assert_deletes(call)
    record(
        "read-only storage",
        "remount ro and rw under a running server",
        "clean 5xx, pulls go on, recovers",
        "5 of 5 pushes 503, every pull whole, recovered without restart",
    )


@pytest.mark.parametrize("disk", ["ext4"], indirect=True)
def test_failing_device(disk: Path, server: Server) -> None:
    """Every read and write fails with EIO: 503 or cut short, never 404, never wrong bytes."""
    call = live(server)
    session = opened(call)
    os.sync()
    disks.cut_power(disk)
    for answer in pushes(call, session):
        assert (answer.status, answer.error) == (503, "UNAVAILABLE")
    for path in ("manifests/v1", f"manifests/{OLD.digest}", f"blobs/{digest_of(OLD.layer)}"):
        answer = call("GET", f"/v2/a/old/{path}")
        assert answer.status == 503 or not answer.whole, (path, answer.status)
    assert call("GET", "/healthz").status == 200
    disks.run("umount", "-l", disk)
    wait_for(lambda: released(call, disk), 10, "release of the dead file system")
    disks.run("mount", "-o", "loop", disk.parent / "disk.ext4", disk)
    wait_for(lambda: call("GET", "/v2/a/old/manifests/v1").status == 200, 10, "recovery")
    assert_recovered(call, session)
    record(
        "EIO",
        "ext4 shut down under a running server, then mounted anew",
        "503 or cut short, never 404; recovers",
        "8 of 8 requests so, recovered without restart",
    )


def released(call: Call, disk: Path) -> bool:
    """Whether every worker has noticed, by the requests that it gets, that its root is gone."""
    assert call("GET", "/v2/a/old/manifests/v1").status == 503
    attached = subprocess.check_output(["losetup", "-j", disk.parent / "disk.ext4"], timeout=30)
    return not attached
