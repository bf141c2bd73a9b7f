"""Checks of the storage and of the room on the node's disks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from backends import Backend, space_of, store_ids
from backends.base import Watched
from backends.errors import StorageError
from distserver.nodes.doctor.facts import Facts
from distserver.nodes.doctor.findings import STOP, Finding, ok, stop, warn
from distserver.storage import open_configured

NEARLY_FULL_BYTES = 1 << 30
KUBELET_PERCENT = 85
"""From here on kubelet removes images that no container uses (imageGCHighThresholdPercent)."""
RUNTIME_DISKS = (
    "/var/lib/containerd",
    "/var/lib/rancher",
    "/var/lib/containers",
    "/var/lib/docker",
)


def identity(facts: Facts) -> Iterator[Finding]:
    """Whether the storage is there and is the one that it was."""
    backend = open_configured(facts.config, facts.config.storage)
    found = _identity(" ".join(facts.config.storage), backend, facts.known_id)
    yield found
    if len(facts.config.storage) > 1 and found.level != STOP:
        yield from _replicas(backend)


def _replicas(backend: Backend) -> Iterator[Finding]:
    """Whether all members of a set that can be used are used."""
    for standing in backend.standings() if isinstance(backend, Watched) else ():
        if not standing.up:
            yield warn(
                f"the replica {standing.part} is not used: {standing.words}",
                "the others go on as long as they are a majority",
                "look at `distserver replica status`, `mount` and `dmesg`",
            )


def _identity(url: str, backend: Backend, known: str | None) -> Finding:
    why = "nothing that was preloaded can be pulled"
    try:
        found = store_ids(backend)
    except StorageError as exc:
        return stop(
            f"the storage cannot be used: {exc}",
            why,
            f"distserver check-storage {url}"
            if url.startswith("s3:")
            else "look at what `mount` and `dmesg` say, and at the rights of the directory",
        )
    if not found and known:
        return stop(
            f"{url} is not the storage that was here ({known}): it is not mounted, or was emptied",
            why,
            "mount it, and let the unit wait for it: RequiresMountsFor= in its drop-in",
        )
    if not found:
        mend = "distserver init, then fill it while there is a network"
        return stop(f"{url} was never initialised: nothing is held", why, mend)
    if known and known not in found:
        return stop(
            f"another storage is mounted at {url}: expected {known}, found {min(found)}",
            why,
            "mount the right disk; if this one is right: remove the file storage_id in the state",
        )
    return ok(f"the storage {url} is there")


def room(facts: Facts) -> Iterator[Finding]:
    """Whether the storage takes more."""
    for url in facts.config.storage:
        try:
            space = space_of(opened(facts, url))
        except StorageError:
            continue  # identity says why
        if space is None:
            continue
        if space.usable_bytes < NEARLY_FULL_BYTES or space.full:
            yield warn(
                f"{url} has room for {space.usable_bytes >> 20} MiB more",
                "what is held is served; nothing new is taken once the reserve is reached",
                "make room, or lower reserve_bytes",
            )
        else:
            yield ok(f"{url} has room for {space.usable_bytes >> 30} GiB more")


def disks(facts: Facts) -> Iterator[Finding]:
    """Whether kubelet would remove images for want of room."""
    there = [path for path in RUNTIME_DISKS if facts.kubelet and facts.node.exists(path)]
    by_disk = {facts.node.path(path).stat().st_dev: path for path in reversed(there)}
    for path in by_disk.values():
        usage = shutil.disk_usage(facts.node.path(path))
        percent = 100 * usage.used // max(1, usage.used + usage.free)
        if percent >= KUBELET_PERCENT:
            yield warn(
                f"the disk of {path} is {percent} % full",
                "kubelet removes images that no container uses, imported ones and pause among them",
                "make room, or raise imageGCHighThresholdPercent of kubelet",
            )


def opened(facts: Facts, *urls: str) -> Backend:
    """Open a storage as the server does, but remember nothing."""
    return open_configured(facts.config, urls, facts.known_id)


def state_disk(facts: Facts) -> Iterator[Finding]:
    """Whether the node's own state can be written."""
    state = Path(facts.config.state)
    existing = next(path for path in (state, *state.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < NEARLY_FULL_BYTES:
        yield warn(
            f"{state}: {free >> 20} MiB are free",
            "pulls through have no place for what is on its way; what is held is served",
            "make room, or set state to another disk",
        )
