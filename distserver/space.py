"""How room comes back in the configured storage."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from backends import Backend, within
from backends.base import KnowsPlace
from distserver.config import Config
from distserver.registry.gc import Limits
from distserver.registry.gc.schedule import Plan

NETWORK_SETTLE_SECONDS = 120.0
"""Twice the time for which a client of NFS believes what it knows of a directory, by default."""
SYNCTHING_MARKER = ".stfolder"


def plan_of(config: Config, backend: Backend) -> Plan:
    """Return when to collect, and what to leave alone."""
    limits = Limits(
        config.gc_grace_seconds, config.gc_hold_seconds, _settle_seconds(config, backend)
    )
    return Plan(config.gc_interval_seconds, config.untagged_seconds, limits)


def is_synced(config: Config) -> bool:
    """Whether Syncthing copies the storage: what is deleted here is deleted on all its nodes."""
    markers = [Path(place) / SYNCTHING_MARKER for place in config.storage if place[0] == "/"]
    return any(within(partial(marker.exists), str(marker)) for marker in markers)


def _settle_seconds(config: Config, backend: Backend) -> float:
    if config.gc_settle_seconds >= 0:
        return config.gc_settle_seconds
    if isinstance(backend, KnowsPlace):
        return 0.0 if backend.is_local() else NETWORK_SETTLE_SECONDS
    return NETWORK_SETTLE_SECONDS if any(place[0] == "/" for place in config.storage) else 0.0
