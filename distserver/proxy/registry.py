"""Puts the proxy around a registry."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from distserver.config import Config
from distserver.metrics import Metrics
from distserver.oci.digests import Digest
from distserver.proxy.begun import Begun
from distserver.proxy.blobs import ProxiedBlobs
from distserver.proxy.bringing import Bringing
from distserver.proxy.completer import Completer
from distserver.proxy.completion import Completion
from distserver.proxy.fetching.allowance import Allowance
from distserver.proxy.fetching.flights import Flights
from distserver.proxy.fetching.room import Room
from distserver.proxy.freshness import Freshness
from distserver.proxy.manifests import Parts, ProxiedManifests
from distserver.proxy.referrers import ProxiedReferrers
from distserver.proxy.sources import Connect, Sources
from distserver.proxy.tags import ProxiedTags
from distserver.proxy.upstream import breaker
from distserver.proxy.upstream.mode import Mode
from distserver.proxy.upstream.table import Upstreams
from distserver.registry import Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Proxied:
    """A registry that fetches what it lacks.

    bringing   what brings the rest of an image at once
    completer  what does so in the background
    room       for blobs on their way
    """

    registry: Registry
    bringing: Bringing
    completer: Completer
    room: Room


def proxied(  # noqa: PLR0913  # each is a part of its own
    registry: Registry,
    upstreams: Upstreams,
    connect: Connect,
    config: Config,
    mode: Mode,
    metrics: Metrics,
    allowance: Allowance | None = None,
) -> Proxied:
    """Return a registry that fetches what the given one does not hold. Touches nothing.

    connect    makes the way to an upstream
    allowance  what may still come into the cache; None = anything
    """
    state = Path(config.state)
    partials, freshness = state / "partial", Freshness(state / "fresh")
    sources = Sources(upstreams, connect, partials)
    room = Room(partials, config.partial_bytes, config.reserve_bytes, allowance)
    flights = Flights(registry.content, room, lambda: mode.offline)
    begun = Begun(state / "begun")
    completion = Completion(registry.blobs, registry.manifests, begun)
    parts = Parts(sources, completion, freshness, mode, metrics)
    manifests = ProxiedManifests(registry, config.manifest_cache_bytes, parts)
    referrers = ProxiedReferrers(registry, manifests, sources, freshness, mode)

    denied = registry.content.denied
    denied.listen(partial(_forget, room))

    def sweep() -> None:
        room.sweep()
        room.forget(denied.all())
        freshness.sweep()
        breaker.sweep(state)

    bringing = Bringing(sources, flights, registry.blobs, manifests, referrers, begun, freshness)
    wrapped = replace(
        registry,
        blobs=ProxiedBlobs(registry, sources, flights, begun, metrics),
        manifests=manifests,
        referrers=referrers,
        tags=ProxiedTags(registry, sources),
    )
    return Proxied(wrapped, bringing, Completer(bringing, config.platforms, sweep), room)


def _forget(room: Room, digests: Collection[Digest]) -> None:
    """Remove partials of what was purged; those that stay go with the next sweep."""
    try:
        room.forget(digests)
    except OSError as exc:
        log.warning("partial blobs that were purged stay: %s", exc)
