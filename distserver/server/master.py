"""The master process as a service of systemd: which sockets it was given, how it says it works."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Mapping
from typing import Any

from gunicorn import systemd
from gunicorn.arbiter import Arbiter

from distserver.config import is_loopback
from distserver.server.worker import STOPS

FRESH_SECONDS = 10.0
"""A worker's heartbeat, one a second, that is older does not count; see pulse."""


def given_address(environ: Mapping[str, str]) -> str | None:
    """Return where the sockets listen that systemd gave this process; None if it gave none.

    Of several, one that others than this machine reach: rights are granted by it.

    Spec: sd_listen_fds(3).
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    first = systemd.SD_LISTEN_FDS_START
    count = int(environ.get("LISTEN_FDS", "0"))
    addresses = [_address(descriptor) for descriptor in range(first, first + count)]
    return min(addresses, key=is_loopback, default=None)


def _address(descriptor: int) -> str:
    with socket.socket(fileno=os.dup(descriptor)) as listener:
        name = listener.getsockname()
    if isinstance(name, tuple):
        host, port = name[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"unix:{name}"


class Master(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's master, which feeds systemd's watchdog, but only while a worker works."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self._ping_seconds = _watchdog_seconds(os.environ) / 3
        self._next_ping = 0.0
        self._status = ""

    def spawn_worker(self) -> Any:
        """Fork a worker; a signal to stop waits in it until its own handlers stand.

        Those of the master, which it has till then, would swallow it, and a stop would take all of
        graceful_timeout_seconds.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)

    def murder_workers(self) -> None:
        """Called by the loop about each second; what it kills, and then replaces, hangs."""
        super().murder_workers()
        now = time.monotonic()
        working = sum(_works(worker, now) for worker in self.WORKERS.values())
        self._tell(f"{working} of {len(self.WORKERS)} workers answer")
        if working and self._ping_seconds and now >= self._next_ping:
            self._next_ping = now + self._ping_seconds
            systemd.sd_notify("WATCHDOG=1", self.log)

    def _tell(self, status: str) -> None:
        """Let `systemctl status` show a line."""
        if status != self._status:
            self._status = status
            systemd.sd_notify(f"STATUS={status}", self.log)


def _works(worker: Any, now: float) -> bool:
    """Whether a worker's heartbeat is fresh; one that has not begun yet has a time far ahead."""
    age: float = now - worker.tmp.last_update()
    return 0 <= age < FRESH_SECONDS


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """How often systemd wants to hear of this process; 0 = never. Spec: sd_watchdog_enabled(3)."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    return int(environ.get("WATCHDOG_USEC", "0")) / 1e6
