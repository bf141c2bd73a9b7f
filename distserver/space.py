"""How room comes back in the configured storage."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from backends import Backend, within
from backends.base import KnowsPlace
from backends.errors import Unavailable
from distserver.config import Config, to_environ
from distserver.evicting.published import node_id
from distserver.oci.digests import Digest
from distserver.registry import Registry
from distserver.registry.gc import Limits, Report, collect
from distserver.registry.gc.agreement import Cluster, agree
from distserver.registry.gc.untagged import remove_untagged
from distserver.registry.lease import storage_now
from distserver.registry.priority import come_last

NETWORK_SETTLE_SECONDS = 120.0
"""Twice the time for which a client of NFS believes what it knows of a directory, by default."""
SYNCTHING_MARKER = ".stfolder"
CLUSTER_HOLD_SECONDS = 30 * 86400.0
"""In the trash of a folder that Syncthing copies, at least: a node may be away for weeks."""
RUN_SECONDS = 6 * 3600.0
MOMENT_SECONDS = 1.0


def limits_of(config: Config, backend: Backend) -> Limits:
    """Return what a collector leaves alone. Raises: Unavailable."""
    settle_seconds = _settle_seconds(config, backend)
    return Limits(config.gc_grace_seconds, config.gc_hold_seconds, settle_seconds)


def collect_as_configured(config: Config, registry: Registry, nodes: int = 0) -> Report:
    """Delete what is untagged for too long, then collect. Raises: as collect.

    nodes  of a folder that Syncthing copies, all of which have to agree
    """
    limits, cluster = limits_of(config, registry.backend), None
    if config.untagged_seconds:
        remove_untagged(registry, storage_now(registry.backend) - config.untagged_seconds)
    if nodes:
        cluster = Cluster(node_id(Path(config.state)), nodes)
        limits = replace(limits, hold_seconds=max(limits.hold_seconds, CLUSTER_HOLD_SECONDS))
    return collect(registry, limits, cluster=cluster)


def agree_as_configured(config: Config, registry: Registry) -> int:
    """Take part in what other nodes of a copied folder took. Raises: as agree."""
    return agree(registry, node_id(Path(config.state)))


def collect_in_child(config: Config, only: frozenset[Digest] | None = None) -> None:
    """Collect by a process of its own: pulls do not wait for it, and its memory is given back.

        only  as for collect
    Raises: Unavailable (it failed, and has said why on standard error).
    Blocks on: the run, six hours at most.
    """
    synced = is_synced(config)
    if synced and only:
        raise Unavailable("Syncthing copies this storage: nothing is evicted")
    name = "gc-agree" if synced else "gc-only" if only else "gc"
    command = [sys.executable, "-m", "distserver", name]
    told = "".join(f"{digest}\n" for digest in only or ()).encode()
    with subprocess.Popen(  # noqa: S603
        command,
        env={**os.environ, **to_environ(config)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    ) as child:
        come_last(child.pid)
        try:
            child.communicate(told, RUN_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            raise Unavailable(f"the collector was not through in {RUN_SECONDS:.0f} s") from None
    if child.returncode:
        raise Unavailable("the collector failed")


class Freeing:
    """Frees what was evicted: in this process as long as that is a matter of a moment.

    Images may come faster than a process starts; in a large storage pulls would feel it instead.
    """

    def __init__(self, config: Config, registry: Registry) -> None:
        self._config, self._registry, self._took = config, registry, 0.0

    def __call__(self, only: frozenset[Digest]) -> None:
        """Free these contents, as far as nothing names them. Raises: as collect."""
        if self._took > MOMENT_SECONDS:
            return collect_in_child(self._config, only)
        report = collect(self._registry, limits_of(self._config, self._registry.backend), only)
        self._took = report.seconds
        return None


def is_synced(config: Config) -> bool:
    """Whether Syncthing copies the storage: what is deleted here is deleted on all its nodes."""
    markers = [Path(place) / SYNCTHING_MARKER for place in config.storage if place[0] == "/"]
    return any(within(partial(marker.exists), str(marker)) for marker in markers)


def _settle_seconds(config: Config, backend: Backend) -> float:
    if config.gc_settle_seconds >= 0:
        return config.gc_settle_seconds
    if isinstance(backend, KnowsPlace):
        next(backend.keys("_store/"), None)  # before its first use it does not know
        return 0.0 if backend.is_local() else NETWORK_SETTLE_SECONDS
    return NETWORK_SETTLE_SECONDS if any(place[0] == "/" for place in config.storage) else 0.0
