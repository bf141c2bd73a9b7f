"""How room comes back in the configured storage."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from backends import Backend, within
from backends.base import KnowsPlace
from backends.errors import Unavailable
from distserver.config import Config, to_environ
from distserver.oci.digests import Digest
from distserver.registry import Registry
from distserver.registry.gc import Limits, Report, collect
from distserver.registry.gc.untagged import remove_untagged
from distserver.registry.lease import storage_now

NETWORK_SETTLE_SECONDS = 120.0
"""Twice the time for which a client of NFS believes what it knows of a directory, by default."""
SYNCTHING_MARKER = ".stfolder"
RUN_SECONDS = 6 * 3600.0
LOWEST = 19


def limits_of(config: Config, backend: Backend) -> Limits:
    """Return what a collector leaves alone."""
    settle_seconds = _settle_seconds(config, backend)
    return Limits(config.gc_grace_seconds, config.gc_hold_seconds, settle_seconds)


def collect_as_configured(config: Config, registry: Registry) -> Report:
    """Delete what is untagged for too long, then collect. Raises: as collect."""
    if config.untagged_seconds:
        remove_untagged(registry, storage_now(registry.backend) - config.untagged_seconds)
    return collect(registry, limits_of(config, registry.backend))


def collect_in_child(config: Config, only: frozenset[Digest] | None = None) -> None:
    """Collect by a process of its own: pulls do not wait for it, and its memory is given back.

        only  as for collect
    Raises: Unavailable (it failed, and has said why on standard error).
    Blocks on: the run, six hours at most.
    """
    if is_synced(config):
        return
    command = [sys.executable, "-m", "distserver", "gc-only" if only else "gc"]
    told = "".join(f"{digest}\n" for digest in only or ()).encode()
    with subprocess.Popen(  # noqa: S603
        command,
        env={**os.environ, **to_environ(config)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    ) as child:
        os.setpriority(os.PRIO_PROCESS, child.pid, LOWEST)
        try:
            child.communicate(told, RUN_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            raise Unavailable(f"the collector was not through in {RUN_SECONDS:.0f} s") from None
    if child.returncode:
        raise Unavailable("the collector failed")


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
