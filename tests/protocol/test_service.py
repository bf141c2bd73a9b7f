"""As a service: what the server tells systemd, and the sockets that systemd gives it."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gunicorn import systemd

from distserver.server.master import given_address
from tests.live import Server, wait_for

STOP_SECONDS = 10.0
"""Half of what the tests' servers give to transfers."""


@pytest.fixture
def told(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket on which systemd would hear of the service."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(0.1)
        yield listener


@pytest.fixture
def service(start: Callable[..., Server], told: socket.socket) -> Server:
    env = {"NOTIFY_SOCKET": told.getsockname(), "WATCHDOG_USEC": "300000"}
    return start(None, "--workers", "2", env=env)


def test_it_says_that_it_is_ready_and_works(service: Server, told: socket.socket) -> None:
    wait_for(lambda: "READY=1" in _next(told), 10, "READY")
    wait_for(lambda: "STATUS=2 of 2 workers answer" in _next(told), 10, "status")
    wait_for(lambda: "WATCHDOG=1" in _next(told), 10, "ping")


def test_rights_go_by_the_socket_that_systemd_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as near, socket.create_server(("", 0)) as far:
        first = _adjacent(near.fileno(), far.fileno())
        monkeypatch.setattr(systemd, "SD_LISTEN_FDS_START", first)
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"}
        try:
            assert given_address(environ) == f"0.0.0.0:{far.getsockname()[1]}"
            assert given_address({**environ, "LISTEN_FDS": "1"}) == (
                f"127.0.0.1:{near.getsockname()[1]}"
            )
            assert given_address({**environ, "LISTEN_PID": "1"}) is None
        finally:
            os.close(first)
            os.close(first + 1)


def _adjacent(one: int, other: int) -> int:
    """Copy two descriptors to numbers in a row that nobody has; return the first one."""
    first = fcntl.fcntl(one, fcntl.F_DUPFD, 200)
    second = fcntl.fcntl(other, fcntl.F_DUPFD, first + 1)
    if second == first + 1:
        return first
    try:
        return _adjacent(first, second)  # these stay open meanwhile, so others are found
    finally:
        os.close(first)
        os.close(second)


def _next(told: socket.socket) -> list[str]:
    try:
        return told.recv(4096).decode().splitlines()
    except TimeoutError:
        return []


def test_it_stops_soon_while_its_workers_start(start: Callable[..., Server]) -> None:
    """A worker that had not taken over its signals yet was deaf: the stop took all its time."""
    for _ in range(5):
        server = start(None, "--workers", "8")
        at = time.monotonic()
        server.stop()
        assert time.monotonic() - at < STOP_SECONDS
