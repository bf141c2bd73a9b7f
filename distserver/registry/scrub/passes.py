"""A pass: every byte is read again, then every image is looked at for what it lacks.

Chunk hashes are mended on the way, from the bytes that they speak of.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from backends.errors import Full, StorageError
from backends.quarantine import QUARANTINE, is_over
from distserver.oci.digests import Digest
from distserver.registry import layout, verify
from distserver.registry.local import Registry
from distserver.registry.scrub.mending import LOOKUP_BYTES
from distserver.registry.scrub.progress import Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """How far a pass is, and what was found missing since the step before."""

    progress: Progress
    missing: frozenset[Digest] = frozenset()


def begin(before: Progress, now: float) -> Progress:
    """Return the progress of a pass that begins after what was before."""
    return replace(before, position=layout.BLOBS, begun=now, bytes=0, found=0)


def steps(registry: Registry, progress: Progress, passing: verify.Passing) -> Iterator[Step]:
    """Go on with a pass where it is; yield a step after each entry and each repository.

    The last one has position "". Raises: Unavailable, what passing raises.
    """
    if progress.position < layout.REPOSITORIES:
        for checked in verify.contents(registry, progress.position, passing):
            passing(LOOKUP_BYTES)
            _mend_chunks(registry, checked)
            progress = _after(progress, checked)
            yield Step(progress)
    for name in verify.repositories(registry):
        if layout.REPOSITORIES + name > progress.position:
            progress = replace(progress, position=layout.REPOSITORIES + name)
            yield Step(progress, missing_of(registry, name, passing))
    _forget_old_copies(registry)
    yield Step(_ended(progress, time.time()))


def _mend_chunks(registry: Registry, checked: verify.Checked) -> None:
    """Write chunk hashes anew that are wrong or missing; without them reads are only slower."""
    if not (checked.digest and checked.chunks):
        return
    try:
        registry.content.put_chunks(checked.digest, checked.chunks)
    except Full as exc:
        log.warning("the chunk hashes of %s are not mended: %s", checked.digest, exc)


def _after(progress: Progress, checked: verify.Checked) -> Progress:
    if checked.problem:
        log.error("damaged %s: %s", checked.key, checked.problem)
    return replace(
        progress,
        position=checked.key,
        bytes=progress.bytes + checked.size,
        found=progress.found + bool(checked.problem),
    )


def missing_of(registry: Registry, name: str, passing: verify.Passing) -> frozenset[Digest]:
    """Return what images of a repository need, and is not here: what is damaged is marked already.

    What is behind a manifest that is not here shows once that one is. Raises: Unavailable.
    """
    damaged = {digest: "its stored copy is damaged" for digest in registry.content.damaged()}
    found: set[Digest] = set()
    for image in verify.images_of(registry, name, damaged):
        passing(LOOKUP_BYTES)
        for problem in image.problems:
            log.error("%s: %s", image.name, problem)
        found.update(problem.digest for problem in image.problems if problem.digest)
    return frozenset(found - damaged.keys())


def _ended(progress: Progress, now: float) -> Progress:
    log.info("scrub: all read, %d MiB, %d damaged", progress.bytes >> 20, progress.found)
    return replace(
        progress,
        position="",
        ended=now,
        last_seconds=max(0.0, now - progress.begun),
        last_bytes=progress.bytes,
    )


def _forget_old_copies(registry: Registry) -> None:
    """Remove damaged copies that were kept aside long enough."""
    now = time.time()
    for key in [key for key in registry.backend.keys(QUARANTINE) if is_over(key, now)]:
        try:
            registry.backend.delete(key)
        except StorageError as exc:
            log.warning("%s is kept for longer: %s", key, exc)
