"""One run of the collector. The order of its steps is what makes it safe (docs/adr).

Condemn: what nothing needs goes into the trash. List the trash. Look again at everything. Then
bring back what is needed after all, and purge of what was listed before only what still nothing
needs. A writer does the opposite: it writes its manifest, then looks for the content. So one of the
two sees the other, whatever their pauses and clocks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from backends import exists
from backends.errors import NotFound
from distserver.oci.digests import Digest
from distserver.registry import layout
from distserver.registry.gc import leases
from distserver.registry.gc.agreement import Agreement, Cluster
from distserver.registry.gc.mark import Mark, mark
from distserver.registry.gc.runs import Runs
from distserver.registry.local import Registry
from distserver.registry.trash import Trash, Trashed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the collector leaves alone, and for how long.

    grace_seconds   content that was pushed, or asked for before a push, within this
    hold_seconds    how long what was taken stays in the trash
    settle_seconds  how long a listing may lag behind what others wrote: caches of network mounts
    """

    grace_seconds: float = 86400.0
    hold_seconds: float = 7 * 86400.0
    settle_seconds: float = 0.0


@dataclass(slots=True)
class Report:
    """What a run found and did; bytes are those of content."""

    run: str = ""
    manifests: int = 0
    young: int = 0
    condemned: dict[Digest, int] = field(default_factory=dict)
    restored: list[Digest] = field(default_factory=list)
    purged: dict[Digest, int] = field(default_factory=dict)
    held: int = 0
    seconds: float = 0.0


def collect(
    registry: Registry,
    limits: Limits,
    only: frozenset[Digest] | None = None,
    cluster: Cluster | None = None,
) -> Report:
    """Take away what nothing needs, and purge what was taken long enough ago.

        only     nothing else is condemned, and for it only leases count, not the age of its bytes;
                 it is purged at once
        cluster  the nodes that have to agree first, in a folder that each has a copy of
    Raises: Doubtful, Unavailable, Full; then nothing was purged, and what was taken comes back
    when somebody asks for it.
    Blocks on: two looks at all records; see mark.
    """
    began, report = time.monotonic(), Report()
    runs, trash = Runs(registry.backend), Trash(registry.backend)
    agreement = Agreement(registry.backend, cluster) if cluster else None
    node = cluster.node if cluster else ""
    if agreement:
        agreement.require_all()
    report.run, now = runs.begin()
    first = mark(registry, node=node)
    report.manifests = len(first.read)
    for digest, size in _garbage(registry, first, limits, only, now, report):
        if trash.condemn(digest, report.run):
            report.condemned[digest] = size
    now = runs.end(report.run, report.condemned if agreement else ())
    over = runs.over(now, limits.hold_seconds) | ({report.run} if only is not None else set())
    listed = list(trash.all())
    if agreement:
        over = set(filter(agreement.is_reached, over))
    else:
        # Nothing is noted of a run that was forgotten; what began just now has noted it by now.
        over |= {entry.run for entry in listed} - runs.known()
    _wait(limits.settle_seconds)
    second = mark(registry, first, node)
    _bring_back(trash, second, report)
    due = [entry for entry in listed if entry.run in over]
    _purge(registry, second, due, report, now)
    second.census.save(registry.backend, node)
    if agreement:
        agreement.say(report.run)
    _forget(runs, trash, over)
    report.held = len(listed) - len(due)
    report.seconds = time.monotonic() - began
    return report


def _wait(seconds: float) -> None:
    """Let all listings show what was written before now."""
    time.sleep(seconds)


def survey(registry: Registry, limits: Limits) -> Report:
    """Tell what a run would take away now, and take nothing. Raises: as collect."""
    began, report = time.monotonic(), Report()
    seen = mark(registry)
    report.manifests = len(seen.read)
    report.condemned = dict(_garbage(registry, seen, limits, None, time.time(), report))
    report.held = sum(1 for _ in Trash(registry.backend).all())
    report.seconds = time.monotonic() - began
    return report


def _garbage(
    registry: Registry,
    seen: Mark,
    limits: Limits,
    only: frozenset[Digest] | None,
    now: float,
    report: Report,
) -> Iterator[tuple[Digest, int]]:
    """Yield what nothing needs, with its size."""
    found = dict[Digest, int]()
    for digest in _unneeded(registry, seen, only):
        try:
            entry = registry.backend.stat(layout.blob(digest))
        except NotFound:
            continue
        if only is not None or now - entry.modified >= limits.grace_seconds:
            found[digest] = entry.size
        else:
            report.young += 1
    since = now - limits.grace_seconds
    for digest in leases.leased(registry, found.__contains__, since) if found else ():
        report.young += found.pop(digest, None) is not None
    yield from found.items()


def _unneeded(registry: Registry, seen: Mark, only: frozenset[Digest] | None) -> Iterator[Digest]:
    listed: Iterable[Digest | None] = (
        only
        if only is not None
        else map(layout.digest_of_blob, registry.backend.keys(layout.BLOBS))
    )
    return (digest for digest in listed if digest and not seen.needs(digest))


def _bring_back(trash: Trash, seen: Mark, report: Report) -> None:
    """Bring back what this run took and something needs after all."""
    for digest in filter(seen.needs, list(report.condemned)):
        trash.restore(digest)
        del report.condemned[digest]
        report.restored.append(digest)


def _purge(registry: Registry, seen: Mark, due: list[Trashed], report: Report, now: float) -> None:
    """Remove trash entries that were listed before the mark, of what nothing needs.

    Of what is needed, those of other runs go if it is in its place without our help: who looks for
    it finds it there, or saw it in the trash before.
    """
    trash = Trash(registry.backend)
    safe = {
        digest: digest not in report.restored and trash.put_back(digest)
        for digest in _needed(seen, due)
    }
    for entry in due:
        if not safe.get(entry.digest, True) or (entry.digest in safe and entry.run == report.run):
            continue
        try:
            size = registry.backend.stat(entry.key).size
        except NotFound:
            continue
        registry.backend.delete(entry.key)
        report.purged[entry.digest] = size
    gone = {digest for digest in report.purged if not _is_anywhere(registry, digest)}
    for digest in gone:
        registry.backend.delete(layout.chunks(digest))
    if gone:
        leases.prune(registry, gone.__contains__, now - leases.PRUNE_SECONDS)


def _needed(seen: Mark, due: list[Trashed]) -> set[Digest]:
    return {entry.digest for entry in due if seen.needs(entry.digest)}


def _is_anywhere(registry: Registry, digest: Digest) -> bool:
    in_place = exists(registry.backend, layout.blob(digest))
    return in_place or any(True for _ in Trash(registry.backend).of(digest))


def _forget(runs: Runs, trash: Trash, over: set[str]) -> None:
    """Forget the runs that are over and have nothing in the trash any more."""
    for run in over - {entry.run for entry in trash.all()}:
        runs.forget(run)
