"""`/healthz` and `/readyz`: told from what a probe found: a hung storage cannot hang them."""

from __future__ import annotations

import threading
import time

from flask import Response, current_app, request

from backends import Backend
from backends.base import HasParts, HasSpace
from backends.errors import StorageError
from distserver.api.base import blueprint
from distserver.api.responses import document

FRESH_SECONDS = 1.0
WAIT_SECONDS = 0.5


class Probe:
    """Asks the storage in a thread of its own, at most one at a time, and remembers the answer."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._running: threading.Thread | None = None
        self._asked = 0.0
        self.reached_once = False
        self.problem: str | None = "not asked yet"
        self.free_bytes: int | None = None
        self.parts: dict[str, str] = {}

    def refresh(self) -> None:
        """Ask again if the answer is older than a second; wait half a second at most."""
        with self._lock:
            due = time.monotonic() - self._asked > FRESH_SECONDS
            if due and not (self._running and self._running.is_alive()):
                self._asked = time.monotonic()
                self._running = threading.Thread(target=self._ask, name="probe", daemon=True)
                self._running.start()
            running = self._running
        if running and running.is_alive():
            running.join(WAIT_SECONDS)
            if running.is_alive():
                self.problem = "the storage does not answer"

    def _ask(self) -> None:
        try:
            if isinstance(self._backend, HasParts):
                self.parts = self._backend.parts()
            next(self._backend.keys("_store/"), None)
            if isinstance(self._backend, HasSpace):
                self.free_bytes = self._backend.space().free_bytes
        except StorageError as exc:
            self.problem = str(exc)
        else:
            self.problem, self.reached_once = None, True


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
            **({"replicas": probe.parts} if probe.parts else {}),
        },
    }
    return document(state, status=200 if ready else 503)
