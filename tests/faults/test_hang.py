"""A hung server is told from a busy one: only the former loses its heartbeat, and is replaced."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.images import digest_of, live, make_image, push
from tests.figures import record
from tests.live import Server, wait_for

pytestmark = pytest.mark.fault

STALL_SECONDS = 3
BUSY_SECONDS = 20.0
"""More than STALL_SECONDS and the age together, at which a heartbeat does not count any more."""
IMAGE = make_image("slow", 100_000_000)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket on which systemd would hear of the service."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(0.1)
        yield listener


Serve = Callable[[int], Server]


@pytest.fixture
def serve(start: Callable[..., Server], told: socket.socket) -> Serve:
    """Start a server as systemd does, with one thread in each of so many workers."""

    def go(workers: int) -> Server:
        env = {
            "NOTIFY_SOCKET": told.getsockname(),
            "WATCHDOG_USEC": "300000",
            "DISTSERVER_THREADS": "1",
            "DISTSERVER_STALL_TIMEOUT_SECONDS": str(STALL_SECONDS),
        }
        return start(None, "--workers", str(workers), env=env)

    return go


def test_the_watchdog_hears_nothing_while_no_worker_works(
    serve: Serve, told: socket.socket
) -> None:
    server = serve(2)
    wait_for(lambda: "WATCHDOG=1" in _next(told), 10, "ping")
    workers = server.workers()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        wait_for(lambda: "STATUS=0 of 2 workers answer" in _next(told), 30, "status")
        assert not _pings(told, 2)
        os.kill(workers[0], signal.SIGCONT)
        wait_for(lambda: "WATCHDOG=1" in _next(told), 10, "ping of the one that goes on")
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)


def test_a_busy_server_is_no_hung_one(serve: Serve, told: socket.socket) -> None:
    """Its only thread sends a layer slowly: it answers nobody else, and that is right."""
    server = serve(1)
    push(live(server), "a/b", "v1", IMAGE)
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        path = f"/v2/a/b/blobs/{digest_of(IMAGE.layer)}"
        slow.sendall(f"GET {path} HTTP/1.1\r\nHost: registry\r\n\r\n".encode())
        until, taken, heard = time.monotonic() + BUSY_SECONDS, 0, list[str]()
        while time.monotonic() < until:
            taken += len(slow.recv(200_000))
            heard += _next(told)
        assert 1_000_000 < taken < len(IMAGE.layer)
    assert "WATCHDOG=1" in heard
    assert "STATUS=0 of 1 workers answer" not in heard
    aim = "it is not taken for hung"
    record("E", f"every thread busy with a slow client for {BUSY_SECONDS:g} s", aim, "it was not")


def _next(told: socket.socket) -> list[str]:
    try:
        return told.recv(4096).decode().splitlines()
    except TimeoutError:
        return []


def _pings(told: socket.socket, seconds: float) -> int:
    until, found = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        found += "WATCHDOG=1" in _next(told)
    return found
