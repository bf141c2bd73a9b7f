"""`/healthz` and `/readyz`: told from what a probe found: a hung storage cannot hang them."""

from __future__ import annotations

import mmap
import threading
import time
from dataclasses import asdict

from flask import Response, current_app, request

from backends import Backend, space_of
from backends.base import Standing, Watched
from backends.errors import StorageError
from distserver.api.base import blueprint
from distserver.api.responses import document

FRESH_SECONDS = 1.0
FIRST_SECONDS, WAIT_SECONDS = 0.5, 0.05
SILENT_SECONDS = 0.5


class Probe:
    """Asks the storage in a thread of its own, at most one at a time, and remembers the answer.

    Make it before the fork: a worker that begins during an outage is as ready as the others.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._reached = mmap.mmap(-1, 1)
        self._lock = threading.Lock()
        self._running: threading.Thread | None = None
        self._asked = 0.0
        self.problem: str | None = "not asked yet"
        self.free_bytes: int | None = None

    @property
    def reached_once(self) -> bool:
        """Whether a process of this server has reached the storage since the start."""
        return self._reached[0] != 0

    def standings(self) -> list[Standing]:
        """How the parts of the storage stand, where somebody watches them."""
        return self._backend.standings() if isinstance(self._backend, Watched) else []

    def refresh(self) -> None:
        """Ask again if the answer is older than a second.

        Waits for the first answer half a second at most; for later ones only a moment, since the
        one before tells nearly as much.
        """
        running = self.begin()
        if running.is_alive():
            running.join(WAIT_SECONDS if self.reached_once else FIRST_SECONDS)
            if running.is_alive() and time.monotonic() - self._asked >= SILENT_SECONDS:
                self.problem = "the storage does not answer"

    def begin(self) -> threading.Thread:
        """Ask again if it is due, and wait for nothing; return the thread that asked last."""
        with self._lock:
            due = time.monotonic() - self._asked > FRESH_SECONDS
            if self._running is None or (due and not self._running.is_alive()):
                self._asked = time.monotonic()
                self._running = threading.Thread(target=self._ask, name="probe", daemon=True)
                self._running.start()
            return self._running

    def _ask(self) -> None:
        try:
            next(self._backend.keys("_store/"), None)
            space = space_of(self._backend)
            self.free_bytes = space.free_bytes if space else None
        except StorageError as exc:
            self.problem = str(exc)
        else:
            self.problem = None
            self._reached[0] = 1


@blueprint.get("/healthz")
def healthz() -> Response:
    """Say that the process works. Asks nothing."""
    return document({"status": "ok"})


@blueprint.get("/readyz")
def readyz() -> Response:
    """Say whether requests make sense here: not while draining, nor before the storage was seen.

    A later outage is told in the body only: else all servers of a site would leave service.
    """
    probe: Probe = current_app.extensions["distserver.probe"]
    probe.refresh()
    draining = bool(request.environ.get("distserver.draining"))
    ready = probe.reached_once and not draining
    state = {
        "status": "ready" if ready else "not ready",
        "draining": draining,
        "storage": {
            "ok": probe.problem is None,
            "problem": probe.problem,
            "free_bytes": probe.free_bytes,
            "parts": [asdict(standing) for standing in probe.standings()],
        },
    }
    return document(state, status=200 if ready else 503)
