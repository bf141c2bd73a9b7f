"""The only storage is a mount that hangs, fails or crawls: real requests, a real mount (FUSE)."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.counts import count
from tests.faults.faultfs import WRITING, Mount, mounted
from tests.faults.images import (
    Answer,
    assert_pulls,
    assert_status,
    digest_of,
    live,
    make_image,
    push,
    push_blob,
)
from tests.faults.test_storage_missing import requests_of
from tests.figures import record
from tests.live import Server, wait_for

pytestmark = pytest.mark.fault

IMAGE = make_image("kept", 3_000_000)
OTHER = make_image("other", 200_000)
RECOVERY_SECONDS = 60.0
"""Five good probes, five seconds apart, and what a busy machine adds."""
COLD = {"DISTSERVER_HOT_BYTES": "0"}
OUTAGE_SECONDS = count(12, 60)
CROWD = count(80, 300)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    with mounted(tmp_path / "disk") as made:
        yield made


@pytest.fixture
def server(mount: Mount, start: Callable[..., Server]) -> Iterator[Server]:
    """A server over the mount that holds an image, and keeps no copies of it."""
    server = start(None, "--workers", "2", storage=mount.path, env=COLD)
    push(live(server), "a/b", "v1", IMAGE)
    yield server
    mount.order()
    assert "Traceback" not in server.log


def timed(server: Server, path: str) -> tuple[Answer, float]:
    begun = time.monotonic()
    return live(server)("GET", path), time.monotonic() - begun


def paths() -> tuple[str, ...]:
    layer = digest_of(IMAGE.layer)
    return "/v2/a/b/manifests/v1", f"/v2/a/b/manifests/{IMAGE.digest}", f"/v2/a/b/blobs/{layer}"


def slowest(server: Server, path: str, times: int = 20) -> float:
    """Seconds of the slowest of so many requests, each of which is answered 200."""
    taken = []
    for _ in range(times):
        answer, seconds = timed(server, path)
        assert answer.status == 200
        taken.append(seconds)
    return max(taken)


def wait_until_it_pulls(server: Server, seconds: float = RECOVERY_SECONDS) -> float:
    """Wait for the recovery without a restart; return how long it took."""
    begun = time.monotonic()
    pulled = lambda: all(timed(server, path)[0].status == 200 for path in paths())  # noqa: E731
    wait_for(pulled, seconds, "recovery")
    assert_pulls(live(server), "a/b", "v1", IMAGE)
    return time.monotonic() - begun


def test_a_hung_mount_costs_seconds_then_nothing_and_comes_back(
    mount: Mount, server: Server
) -> None:
    wait_until_it_pulls(server)
    workers = server.workers()
    mount.order(hang=True)
    with ThreadPoolExecutor(CROWD) as crowd:
        asked = [crowd.submit(timed, server, paths()[n % 3]) for n in range(CROWD)]
        time.sleep(2)  # the first seconds are when threads could be eaten up
        health = max(slowest(server, path) for path in ("/v2/", "/healthz", "/readyz"))
        answers = [future.result(60) for future in asked]
    assert {answer.status for answer, _ in answers} == {503}
    assert all(answer.headers["Retry-After"] for answer, _ in answers)
    first = max(seconds for _, seconds in answers)
    assert first < 15
    wait_for(lambda: down(server), 20, "verdict")
    later = max(timed(server, path)[1] for path in paths() * 10)
    assert later < 0.5
    assert health < 0.5
    told = [asked.status for asked in requests_of(live(server))]
    assert told == [503] * 10
    assert 'storage_up{part="' in live(server)("GET", "/metrics").body.decode()
    mount.order()
    back = wait_until_it_pulls(server)
    push(live(server), "a/b", "v2", OTHER)
    assert server.workers() == workers
    record(
        "one hung mount as the only storage",
        f"a FUSE mount hangs under {CROWD} pulls at once, then lets go",
        "/v2/ and health < 100 ms, the rest 503 in < 15 s, recovers without a restart",
        f"health {1000 * health:.0f} ms at most, first 503s after {first:.1f} s at most, later ones"
        f" {1000 * later:.0f} ms, pulls {back:.0f} s after it let go, same workers",
    )


def down(server: Server) -> bool:
    return parts(server)[0]["state"] == "down"


def parts(server: Server) -> list[dict[str, str]]:
    state = json.loads(live(server)("GET", "/readyz").body)
    found: list[dict[str, str]] = state["storage"]["parts"]
    return found


def test_a_body_on_its_way_is_closed_short(mount: Mount, server: Server) -> None:
    """The client notices, and asks again: by range, at the next endpoint."""
    big = make_image("big", 50_000_000)
    push(live(server), "a/big", "v1", big)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        path = f"/v2/a/big/blobs/{digest_of(big.layer)}"
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: registry\r\n\r\n".encode())
        taken = len(client.recv(100_000))
        mount.order(hang=True)
        begun = time.monotonic()
        while data := client.recv(1 << 20):
            taken += len(data)
        assert time.monotonic() - begun < 15
    assert 0 < taken < len(big.layer)
    mount.order()
    wait_until_it_pulls(server)


def test_a_server_starts_while_its_storage_hangs(
    mount: Mount, server: Server, start: Callable[..., Server]
) -> None:
    assert server.stop() == 0
    mount.order(hang=True)
    begun = time.monotonic()
    server = start(server.directory, "--workers", "2", storage=mount.path, env=COLD)
    taken = time.monotonic() - begun
    assert taken < 20
    assert slowest(server, "/healthz") < 0.5
    answer, seconds = timed(server, paths()[0])
    assert_status(answer, 503)
    assert seconds < 15
    mount.order()
    wait_until_it_pulls(server)
    record(
        "start while the storage hangs",
        "the only storage hangs before the start, then lets go",
        "the server starts, says 503, and recovers without a restart",
        f"started in {taken:.1f} s, 503 in {seconds:.1f} s, then every pull whole",
    )


def test_a_stop_while_the_storage_hangs_ends(mount: Mount, server: Server) -> None:
    """What hangs in the kernel cannot be ended; the kernel does it when the mount goes."""
    mount.order(hang=True)
    assert_status(timed(server, paths()[0])[0], 503)
    server.process.terminate()
    mount.down()
    assert server.process.wait(30) == 0


def test_a_mount_that_is_replaced_is_used_again(mount: Mount, server: Server) -> None:
    """What an operator does: unmount by force, mount again. Calls that hang are lost, no more."""
    mount.order(hang=True)
    assert_status(timed(server, paths()[0])[0], 503)
    mount.down()
    mount.order()
    assert_status(timed(server, paths()[0])[0], 503)
    assert list(mount.path.iterdir()) == []
    mount.up()
    wait_until_it_pulls(server)


@pytest.mark.parametrize("error", ["EIO", "ESTALE"])
def test_a_mount_that_fails_is_unavailable_and_never_404(
    mount: Mount, server: Server, error: str
) -> None:
    mount.order(errno=error)
    for answer in requests_of(live(server)):
        assert_status(answer, 503)
    mount.order()
    wait_until_it_pulls(server)


@pytest.mark.parametrize("error, statuses", [("EROFS", {503}), ("ENOSPC", {507, 503})])
def test_a_mount_that_cannot_be_written_is_still_read(
    mount: Mount, server: Server, error: str, statuses: set[int]
) -> None:
    mount.order(*WRITING, errno=error)
    for _ in range(3):
        assert_pulls(live(server), "a/b", "v1", IMAGE)
        assert push_blob(live(server), "a/b", OTHER.layer).status in statuses
    wait_for(lambda: "cannot be written" in parts(server)[0]["words"], 30, "word of the prober")
    assert_pulls(live(server), "a/b", "v1", IMAGE)
    mount.order()
    push(live(server), "a/b", "v2", OTHER)


def test_a_slow_mount_is_used(mount: Mount, server: Server) -> None:
    """Twenty milliseconds for each operation: slow for an NFS, and no reason to give it up."""
    mount.order(delay=0.02)
    with ThreadPoolExecutor(4) as several:
        assert all(several.map(lambda _: pulls(server), range(8)))
        assert all(several.map(lambda n: pushes(server, n), range(4)))
    assert parts(server)[0]["state"] == "up"


def pulls(server: Server) -> bool:
    assert_pulls(live(server), "a/b", "v1", IMAGE)
    return True


def pushes(server: Server, number: int) -> bool:
    push(live(server), f"a/{number}", "v1", make_image(number, 200_000))
    return True


def test_what_a_node_has_copies_of_is_pulled_while_the_mount_hangs_again_and_again(
    mount: Mount, start: Callable[..., Server]
) -> None:
    server = start(None, "--workers", "2", storage=mount.path)
    push(live(server), "a/b", "v1", IMAGE)
    push(live(server), "a/other", "v1", OTHER)
    assert_pulls(live(server), "a/b", "v1", IMAGE)
    workers, until, taken = server.workers(), time.monotonic() + OUTAGE_SECONDS, list[float]()
    while time.monotonic() < until:
        for hangs in (True, False):
            mount.order(hang=hangs)
            phase = time.monotonic() + 5
            while time.monotonic() < phase:
                begun = time.monotonic()
                assert_pulls(live(server), "a/b", "v1", IMAGE)
                taken.append(time.monotonic() - begun)
    mount.order(hang=True)
    answer = live(server)("HEAD", f"/v2/a/other/blobs/{digest_of(OTHER.layer)}")
    assert answer.status == 503
    mount.order()
    assert server.workers() == workers
    record(
        "storage hangs for 5 s, again and again",
        f"pulls by tag of an image with hot copies for {OUTAGE_SECONDS} s",
        "no pull fails",
        f"{len(taken)} of {len(taken)} whole, the slowest took {max(taken):.1f} s",
    )
