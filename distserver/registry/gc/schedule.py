"""When a server collects: one process of a node, one node of a storage at a time."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from pathlib import Path

from backends import Backend
from backends.errors import NotFound, StorageError
from distserver.registry.gc import census
from distserver.registry.lease import Lease, storage_now
from distserver.registry.locks import elected

log = logging.getLogger(__name__)

LOOK_SECONDS = 600.0
"""How often a server asks whether a run is due, at most."""


class Schedule:
    """Runs of the collector, by a thread of this process.

    state             directory of the node, for the lock among its processes
    interval_seconds  from the end of a run to the next one; 0 = never
    run               collects; it raises StorageError or OSError if that failed
    """

    def __init__(
        self, backend: Backend, state: Path, interval_seconds: float, run: Callable[[], None]
    ) -> None:
        self._backend, self._interval, self._run = backend, interval_seconds, run
        self._lock, self._lease = state / "gc.lock", Lease(backend)
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin; call it after the fork."""
        if self._interval:
            threading.Thread(target=self._loop, name="gc", daemon=True).start()

    def stop(self) -> None:
        """Begin no further run."""
        self._stopped.set()

    def _loop(self) -> None:
        pause = min(LOOK_SECONDS, self._interval)
        wait = pause * random.random()  # noqa: S311  # not all servers at once
        while not self._stopped.wait(wait):
            wait = pause
            try:
                self.look()
            except (StorageError, OSError) as exc:
                log.warning("garbage is not collected now: %s", exc)

    def look(self) -> None:
        """Collect if that is due, and nobody else does. Raises: StorageError, OSError."""
        with elected(self._lock) as chosen:
            if chosen and self._is_due() and self._lease.take():
                try:
                    self._run()
                finally:
                    self._lease.give_back()

    def _is_due(self) -> bool:
        """Whether the last run, of any server, is long enough ago. Raises: Unavailable."""
        try:
            last = self._backend.stat(census.KEY).modified
        except NotFound:
            return True
        return storage_now(self._backend) - last >= self._interval
