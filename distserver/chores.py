"""What a server does beside its requests: each chore begins after the fork, in every worker.

Those that one process of a node is enough for elect it themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from distserver.config import Config
from distserver.evicting.loop import Eviction
from distserver.evicting.making import bounds_of, eviction_of
from distserver.evicting.pulls import Pulls
from distserver.metrics import Metrics
from distserver.naming import canonical_names
from distserver.proxy.healing import FromUpstreams
from distserver.proxy.registry import Proxied
from distserver.proxy.upstream import silence
from distserver.proxy.upstream.mode import Mode
from distserver.registry import janitor, local_registry, purging
from distserver.registry.gc.schedule import Schedule
from distserver.registry.hot import Recall
from distserver.registry.lease import Lease
from distserver.registry.scrub import Need, Plan, Scrubber
from distserver.space import Freeing, collect_in_child, is_synced

EVICTING = "gc/evicting"
"""Key of the lease of the node that evicts."""


@dataclass(frozen=True, slots=True)
class Chores:
    """What begins in a worker, and what has to be told that it ends."""

    begins: tuple[Callable[[], object], ...]
    ends: tuple[Callable[[], object], ...]

    def start(self) -> None:
        """Begin all of it. Call it after the fork."""
        for begin in self.begins:
            begin()

    def stop(self) -> None:
        """Let all of it end, and keep what it has in mind."""
        for end in self.ends:
            end()


def chores_of(  # noqa: PLR0913  # each is a part of its own
    config: Config, made: Proxied, hot: Recall, pulls: Pulls, mode: Mode, metrics: Metrics
) -> Chores:
    """Put the chores of a server together. Begins nothing."""
    registry, state = made.registry, Path(config.state)
    sweeps: list[Callable[[], int]] = [
        hot.sweep,
        partial(purging.sweep, registry.backend, registry.content.denied),
    ]
    sweep = partial(
        janitor.start, registry.backend, registry.uploads, config.upload_expiry_seconds, sweeps
    )
    collecting = Schedule(
        registry.backend, state, config.gc_interval_seconds, partial(collect_in_child, config)
    )
    scrubber = _scrubber(config, made, hot)
    eviction = _eviction(config, made, pulls, mode, metrics)
    loops = [loop for loop in (made.completer, collecting, scrubber, eviction) if loop]
    begins: list[Callable[[], object]] = [hot.begin, sweep, partial(silence.keep, mode)]
    begins += [pulls.start, *(loop.start for loop in loops)]
    ends: list[Callable[[], object]] = [pulls.flush, *(loop.stop for loop in loops)]
    return Chores(tuple(begins), tuple(ends))


def _eviction(
    config: Config, made: Proxied, pulls: Pulls, mode: Mode, metrics: Metrics
) -> Eviction | None:
    """What keeps the cache to its room; None = nothing ever has to go."""
    if not bounds_of(config).apply:
        return None
    names, lease = canonical_names(config), Lease(made.registry.backend, EVICTING)
    collect = Freeing(config, made.registry)

    def may_evict() -> bool:
        return not is_synced(config) and lease.take()

    return eviction_of(config, made, pulls, mode, metrics, names, collect, may_evict)


def _scrubber(config: Config, made: Proxied, hot: Recall) -> Scrubber:
    def from_copy(need: Need) -> str:
        return "from this node's copy" if hot.content.restore(need.digest) else ""

    # It remembers no manifests: what is damaged must not be hidden by a memory of it.
    held = local_registry(made.registry.backend, 0, content=hot.content)
    plan = Plan(config.scrub_days, config.scrub_bytes_per_second)
    return Scrubber(
        held, Path(config.state), plan, (from_copy, FromUpstreams(made.bringing, hot.content))
    )
