"""The thread that scrubs and mends, in one process of a node at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from backends.errors import StorageError
from distserver.oci.digests import Digest
from distserver.oci.errors import RegistryError
from distserver.registry import verify
from distserver.registry.local import Registry
from distserver.registry.locks import elected
from distserver.registry.priority import come_last
from distserver.registry.scrub import passes
from distserver.registry.scrub.mending import LOOKUP_BYTES, Mender, Source
from distserver.registry.scrub.pace import Pace, Stopped, rate
from distserver.registry.scrub.progress import (
    LOCK,
    MAX_IMAGES,
    MAX_MISSING,
    Progress,
    read_progress,
    write_progress,
)

log = logging.getLogger(__name__)

LOOK_SECONDS, ELECT_SECONDS, RETRY_SECONDS = 2.0, 5.0, 60.0
SAVE_SECONDS = 5.0
"""What a process that is killed has read in this time is read again."""
HEAL_SECONDS = 60.0
"""How often is looked for what reads found damaged."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 300.0, 6 * 3600.0
"""Before what nobody could mend is tried again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the configuration says: days from pass to pass, 0 = none; bytes a second, 0 = a rate."""

    days: int
    bytes_per_second: int = 0


class Scrubber:
    """Reads everything within days, and mends what it or a reader found damaged.

    registry  what is stored here, asking no upstream; it must remember no manifests
    state     directory of this node
    sources   where good bytes may come from
    """

    def __init__(
        self, registry: Registry, state: Path, plan: Plan, sources: Sequence[Source] = ()
    ) -> None:
        self._registry, self._state, self._plan = registry, state, plan
        self._sources = sources
        self._stopped = threading.Event()
        self._progress = Progress()
        self._suspects: frozenset[Digest] | None = None
        self._next_look = self._next_try = self._saved = 0.0
        self._pause = FIRST_PAUSE_SECONDS

    def start(self) -> None:
        """Begin, in a thread. Call it after fork."""
        threading.Thread(target=self._run, name="scrub", daemon=True).start()

    def stop(self) -> None:
        """End soon, and let another process go on: this one is about to end."""
        self._stopped.set()

    def _run(self) -> None:
        come_last(threading.get_native_id())
        while not self._stopped.is_set():
            try:
                with elected(self._state / LOCK) as chosen:
                    while chosen and not self._stopped.wait(LOOK_SECONDS):
                        self._turn()
            except Stopped:
                return
            except (StorageError, RegistryError, OSError) as exc:
                log.warning("the scrub waits: %s", exc)
                self._stopped.wait(RETRY_SECONDS)
            except Exception:  # the thread would end, and nothing ever be scrubbed again
                log.exception("the scrub waits, by a fault of ours")
                self._stopped.wait(RETRY_SECONDS)
            self._stopped.wait(ELECT_SECONDS)

    def _turn(self) -> None:
        """Do what there is to do now. Raises: Stopped, StorageError, RegistryError, OSError."""
        self._progress = read_progress(self._state)
        self._heal()
        if self._plan.days and self._progress.is_due(self._plan.days, time.time()):
            self._pass()

    def _pass(self) -> None:
        pace = self._pace()
        if not self._progress.position:
            self._save(passes.begin(self._progress, time.time()))
        log.info("scrub: reading on behind %s", self._progress.position)
        for step in passes.steps(self._registry, self._progress, pace.passing):
            self._take(step)
            if time.monotonic() >= self._saved + SAVE_SECONDS or not step.progress.position:
                self._save(self._progress)
                self._heal()
        self._next_look = 0.0
        self._heal()

    def _take(self, step: passes.Step) -> None:
        """Keep what a step tells, beside what mending tells."""
        missing = {*self._progress.missing, *map(str, step.missing)}
        self._progress = replace(
            step.progress,
            missing=tuple(islice(sorted(missing), MAX_MISSING)),
            damaged=self._progress.damaged,
            images=self._progress.images,
            more_images=self._progress.more_images,
        )

    def _heal(self) -> None:
        """Mend what is known to be damaged or missing, unless that was tried a moment ago."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + HEAL_SECONDS
        suspects = self._find_suspects()
        if suspects == self._suspects and time.monotonic() < self._next_try:
            return
        changed = suspects != self._suspects
        found_more = self._mend(suspects)
        self._suspects = None if found_more else self._find_suspects()
        self._pause = (
            FIRST_PAUSE_SECONDS if changed else min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        )
        self._next_try = time.monotonic() + self._pause

    def _find_suspects(self) -> frozenset[Digest]:
        return self._registry.content.damaged().union(map(Digest.parse, self._progress.missing))

    def _mend(self, suspects: frozenset[Digest]) -> bool:
        """Mend what can be mended; return whether more came to light by that."""
        pace = self._pace()
        mender = Mender(self._registry, self._sources, pace.passing)
        bad, lacking, again = set[Digest](), set[str](), set[str]()
        for need in mender.needs(suspects):
            if mender.mend(need):
                again.update(need.names)
            else:
                bad.add(need.digest)
                lacking.update(need.names)
        missing = bad - self._registry.content.damaged()
        found = [passes.missing_of(self._registry, name, pace.passing) for name in again]
        more = set[Digest]().union(*found) - suspects
        images = self._touched(bad, lacking, pace)
        told = replace(
            self._progress,
            damaged=len(bad | more),
            missing=tuple(islice(sorted(map(str, missing | more)), MAX_MISSING)),
            images=tuple(images[:MAX_IMAGES]),
            more_images=max(0, len(images) - MAX_IMAGES),
        )
        if told != self._progress:
            self._save(told)
        return bool(more)

    def _touched(self, bad: set[Digest], names: set[str], pace: Pace) -> list[str]:
        """Names of the images that lack something of what is bad."""
        damaged, found = dict.fromkeys(bad, "damaged"), []
        for name in sorted(names):
            for image in verify.images_of(self._registry, name, damaged):
                pace.passing(LOOKUP_BYTES)
                if bad.intersection(problem.digest for problem in image.problems):
                    found.append(image.name)
        return found

    def _pace(self) -> Pace:
        asked = self._plan.bytes_per_second or rate(self._progress.last_bytes, self._plan.days)
        return Pace(asked, self._stopped)

    def _save(self, progress: Progress) -> None:
        self._progress, self._saved = progress, time.monotonic()
        write_progress(self._state, progress)
