"""A cache before a scripted upstream, and its eviction, looked by hand: no processes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distserver import app as application
from distserver import naming
from distserver.config import UpstreamConfig
from distserver.evicting.evict import Collect
from distserver.evicting.loop import Eviction
from distserver.evicting.making import eviction_of
from distserver.evicting.pulls import Pulls
from distserver.metrics import Metrics
from distserver.oci.digests import Digest
from distserver.proxy.registry import Proxied
from distserver.proxy.upstream.mode import Mode
from distserver.registry import Registry
from tests.evicting.collecting import collector
from tests.live import wait_for
from tests.proxy.world import CONFIG, World, digest, image, world

LAYER_BYTES = 100_000
CAP_BYTES = 550_000
NAME = "up.site/team/app"
SILENT = UpstreamConfig(signatures=False)


@dataclass
class Cache:
    """The cache of a world.

    layers  the layer of each tag
    """

    world: World
    eviction: Eviction
    made: Proxied
    pulls: Pulls
    layers: dict[str, bytes] = field(default_factory=dict)

    @property
    def registry(self) -> Registry:
        return self.made.registry

    def offer(self, tag: str, *shared: bytes) -> bytes:
        """Let the upstream have an image with a layer of its own; return its manifest."""
        layer = random.Random(tag).randbytes(LAYER_BYTES)
        manifest = self.world.tag(tag, image(*shared, layer))
        self.world.blobs |= {digest(each): each for each in (*shared, layer)}
        self.layers[tag] = layer
        return manifest

    def pull(self, tag: str) -> bytes:
        """Pull a tag, every byte of it; return its manifest."""
        status, body, _ = self.world.get(f"/v2/{NAME}/manifests/{tag}")
        assert (status, body) == (200, self.world.manifests[tag]), (tag, status, body)
        for data in (CONFIG, self.layers[tag]):
            status, found, _ = self.world.get(f"/v2/{NAME}/blobs/{digest(data)}")
            assert (status, found) == (200, data), (tag, status)
        return body

    def bring(self, *tags: str) -> None:
        """Offer and pull images, one after the other, until each is whole here."""
        for tag in tags:
            self.offer(tag)
            self.pull(tag)
            wait_for(lambda: self.is_stored(self.layers[tag]), 10, "layer")  # noqa: B023

    def held(self) -> set[str]:
        """The tags that are held."""
        return set(map(str, self.registry.tags.all(NAME)))

    def is_stored(self, data: bytes) -> bool:
        """Whether the storage has these bytes."""
        return self.registry.content.holds(Digest.of(data), len(data))


@contextmanager
def cache(
    directory: Path,
    make: Callable[[Registry], Collect] = collector,
    lease: Callable[[], bool] = lambda: True,
    **config: Any,
) -> Iterator[Cache]:
    """Lend a cache of CAP_BYTES before an upstream with one image, v1.

    make    the collector
    config  more of the configuration
    """
    with world(directory, SILENT, **{"cache_bytes": CAP_BYTES, **config}) as made:
        settings = made.app.extensions["distserver.config"]
        mode, metrics = Mode(made.state, settings.mode), Metrics()
        proxied = application.open_proxied(settings, mode, metrics)
        pulls = made.app.extensions["distserver.pulls"]
        names = naming.canonical_names(settings)
        eviction = eviction_of(
            settings, proxied, pulls, mode, metrics, names, make(proxied.registry), lease
        )
        yield Cache(made, eviction, proxied, pulls)
