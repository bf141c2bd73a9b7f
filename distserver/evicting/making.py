"""Puts the eviction of a server together from its configuration."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from distserver.config import Config
from distserver.evicting.evict import Collect, Evictor
from distserver.evicting.images import Looker
from distserver.evicting.inuse import Canonical, InUse, Source, list_file
from distserver.evicting.kubernetes import in_cluster
from distserver.evicting.loop import Eviction, Parts
from distserver.evicting.pins import Pins
from distserver.evicting.published import Published
from distserver.evicting.pulls import Pulls
from distserver.evicting.room import Bounds
from distserver.evicting.standing import DIRECTORY
from distserver.metrics import Metrics
from distserver.proxy.fetching.allowance import Allowance
from distserver.proxy.registry import Proxied
from distserver.proxy.upstream.connect import upstreams_of
from distserver.proxy.upstream.mode import Mode


def bounds_of(config: Config) -> Bounds:
    """Return what an operator said of the room of the cache."""
    return Bounds(config.cache_bytes, config.cache_free_bytes, config.reserve_bytes)


def allowance_of(config: Config) -> Allowance | None:
    """Return what may still come into the cache; None = there is no cap."""
    return Allowance(Path(config.state) / DIRECTORY / "left") if config.cache_bytes else None


def in_use_of(config: Config, canonical: Canonical) -> InUse:
    """Return what knows the images that run."""
    sources: dict[str, Source] = {}
    if config.in_use_file:
        sources["in_use_file"] = list_file(Path(config.in_use_file))
    if config.in_use_pods and (cluster := in_cluster(os.environ)):
        sources["in_use_pods"] = cluster.images
    return InUse(Path(config.state) / DIRECTORY / "in_use.json", sources, canonical)


def eviction_of(  # noqa: PLR0913  # each is a part of its own
    config: Config,
    made: Proxied,
    pulls: Pulls,
    mode: Mode,
    metrics: Metrics,
    canonical: Canonical,
    collect: Collect,
    lease: Callable[[], bool],
) -> Eviction:
    """Make the loop that evicts; it does nothing until it is started.

    canonical  reads names of images
    lease      whether this node is the one of the storage that may evict now
    """
    state, registry, upstreams = Path(config.state), made.registry, upstreams_of(config)
    looker = Looker(registry, lambda name: upstreams.of_repository(name) is not None)
    parts = Parts(
        registry=registry,
        looker=looker,
        evictor=Evictor(registry, made.bringing, looker, collect),
        pulls=pulls,
        published=Published(registry.backend, state),
        pins=Pins(registry.backend, registry.records),
        in_use=in_use_of(config, canonical),
        room=made.room,
        allowance=allowance_of(config),
        mode=mode,
        lease=lease,
    )
    return Eviction(state, bounds_of(config), parts, metrics)
