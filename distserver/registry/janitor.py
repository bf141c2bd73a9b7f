"""The janitor: removes sessions without progress and temporaries of dead writers."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from itertools import groupby

from backends import Backend
from backends.base import Sweeps, Tends
from backends.errors import NotFound, StorageError
from distserver.registry import layout
from distserver.registry.catalog import upload_repositories
from distserver.registry.uploads import Uploads

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 3600.0
TEND_SECONDS = 4.0
"""Pause between two stretches of a storage's own work in the background."""


def sweep(backend: Backend, uploads: Uploads, max_age_seconds: float) -> int:
    """Remove sessions and temporaries without progress for max_age_seconds; return how many.

    Raises: Unavailable. Safe beside any number of servers and of other janitors.
    """
    removed = 0
    for name in upload_repositories(backend):
        for session in _expired(backend, name, max_age_seconds):
            uploads.discard(name, session)
            removed += 1
    if isinstance(backend, Sweeps):
        removed += backend.sweep(max_age_seconds)
    return removed


def start(
    backend: Backend,
    uploads: Uploads,
    max_age_seconds: float,
    others: Sequence[Callable[[], int]] = (),
) -> threading.Thread:
    """Sweep every hour, or as often as uploads expire if that is sooner. Call it after fork.

    Beside it a storage does what it has to do by itself (capability Tends).

    others  sweeps of this node's own files; they return how many they removed
    """
    if isinstance(backend, Tends):
        threading.Thread(target=_tend, args=(backend,), name="tender", daemon=True).start()
    interval = min(INTERVAL_SECONDS, max_age_seconds)

    def run() -> None:
        # Spread, so that the workers of many servers do not all list at once.
        wait = random.uniform(interval / 100, interval / 10)  # noqa: S311
        while True:
            time.sleep(wait)
            wait = interval
            try:
                removed = sum(other() for other in others)
                removed += sweep(backend, uploads, max_age_seconds)
            except (StorageError, OSError) as exc:
                log.warning("sweep put off: %s", exc)
            else:
                log.debug("sweep removed %d left-overs", removed)

    thread = threading.Thread(target=run, name="janitor", daemon=True)
    thread.start()
    return thread


def _tend(backend: Tends) -> None:
    while True:
        time.sleep(TEND_SECONDS)
        try:
            backend.tend()
        except StorageError as exc:
            log.warning("the storage's own work is put off: %s", exc)


def _expired(backend: Backend, name: str, max_age_seconds: float) -> list[str]:
    prefix = layout.uploads(name)
    now = time.time()
    keys = list(backend.keys(prefix))
    sessions = groupby(keys, key=lambda key: key[len(prefix) :].split("/", 1)[0])
    return [
        session
        for session, group in sessions
        if all(_is_older(backend, key, now - max_age_seconds) for key in group)
    ]


def _is_older(backend: Backend, key: str, when: float) -> bool:
    """Whether an entry was written before; one that has just gone belongs to a session at work."""
    try:
        return backend.stat(key).modified < when
    except NotFound:
        return False
