"""Puts the proxy around a registry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from distserver.proxy.blobs import ProxiedBlobs
from distserver.proxy.completion import Completion
from distserver.proxy.flights import Flights
from distserver.proxy.freshness import Freshness
from distserver.proxy.manifests import ProxiedManifests
from distserver.proxy.sources import Connect, Sources
from distserver.proxy.upstreams import Upstreams
from distserver.registry import Registry


def proxied(
    registry: Registry,
    upstreams: Upstreams,
    connect: Connect,
    state: Path,
    ttl_seconds: float,
    manifest_cache_bytes: int = 64 << 20,
) -> Registry:
    """Return a registry that fetches what the given one does not hold. Touches nothing.

    connect      makes the client of an upstream
    state        directory of this node's own memory and partial blobs
    ttl_seconds  how long a tag counts as fresh
    """
    sources = Sources(upstreams, connect, state)
    flights = Flights(registry.content)
    completion = Completion(registry.blobs, registry.manifests, flights)
    return replace(
        registry,
        blobs=ProxiedBlobs(registry.content, registry.records, sources, flights),
        manifests=ProxiedManifests(
            registry,
            manifest_cache_bytes,
            sources,
            completion,
            Freshness(state / "fresh"),
            ttl_seconds,
        ),
    )
