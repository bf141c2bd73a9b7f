"""The runs of a server: one process of a node, one node of a storage at a time."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backends.errors import NotFound, StorageError
from distserver.registry.gc import census
from distserver.registry.gc.collector import Limits, Report, collect
from distserver.registry.gc.untagged import remove_untagged
from distserver.registry.lease import Lease, storage_now
from distserver.registry.local import Registry
from distserver.registry.locks import lock

log = logging.getLogger(__name__)

LOOK_SECONDS = 600.0
"""How often a server asks whether a run is due, at most."""


@dataclass(frozen=True, slots=True)
class Plan:
    """When to collect, and what to leave alone.

    interval_seconds  from the end of a run to the next one; 0 = never
    untagged_seconds  pushed manifests without a tag are deleted after this; 0 = never
    """

    interval_seconds: float
    untagged_seconds: float
    limits: Limits


def run_once(registry: Registry, plan: Plan) -> Report:
    """Delete what is untagged for too long, and collect. Raises: as collect."""
    if plan.untagged_seconds:
        removed = remove_untagged(registry, storage_now(registry.backend) - plan.untagged_seconds)
        log.info("%d untagged manifests deleted", removed)
    report = collect(registry, plan.limits)
    log.info(
        "garbage collected in %.1f s: %d manifests, %d contents to the trash, %d purged (%d MiB)",
        report.seconds,
        report.manifests,
        len(report.condemned),
        len(report.purged),
        sum(report.purged.values()) >> 20,
    )
    return report


def start(registry: Registry, state: Path, plan: Plan) -> threading.Thread | None:
    """Collect in the background, as planned. Call it after the fork."""
    if not plan.interval_seconds:
        return None
    thread = threading.Thread(target=_run, args=(registry, state, plan), name="gc", daemon=True)
    thread.start()
    return thread


def _run(registry: Registry, state: Path, plan: Plan) -> None:
    pause = min(LOOK_SECONDS, plan.interval_seconds)
    lease = Lease(registry.backend)
    time.sleep(pause * random.random())  # noqa: S311  # not all servers at once
    while True:
        try:
            with only_process(state / "gc.lock"):
                if _is_due(registry, plan) and lease.take():
                    run_once(registry, plan)
                    lease.give_back()
        except BlockingIOError:
            log.debug("another process of this node collects")
        except (StorageError, OSError) as exc:
            log.warning("garbage is not collected now: %s", exc)
        time.sleep(pause)


def _is_due(registry: Registry, plan: Plan) -> bool:
    """Whether the last run, of any server, is long enough ago. Raises: Unavailable."""
    try:
        last = registry.backend.stat(census.KEY).modified
    except NotFound:
        return True
    return storage_now(registry.backend) - last >= plan.interval_seconds


@contextmanager
def only_process(path: Path) -> Iterator[None]:
    """Be the one process of this node that does something. Raises: BlockingIOError, OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        lock(descriptor, 0)
        yield
    finally:
        os.close(descriptor)
