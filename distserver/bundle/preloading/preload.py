"""Preloads images: first all manifests, then a look at the room, then blobs; several at once.

Runs as often as you like: what is there is not asked for again. A failure costs its image only.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from distserver.bundle.images import Image
from distserver.bundle.preloading.plan import Failure, Place, Plan, make_plan
from distserver.oci.digests import Digest
from distserver.oci.manifests import Descriptor
from distserver.proxy.background import in_background

T = TypeVar("T")
R = TypeVar("R")

PARALLEL = 4
"""Images at once; how much of that an upstream sees is limited by its own settings."""
PAUSE_SECONDS = 5.0
"""Before something is asked for again."""
TICK_SECONDS = 0.2


class NoSpace(Exception):
    """The images do not fit; the text has both numbers. Nothing of a layer was fetched."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image to preload. platforms: empty = all."""

    image: Image
    platforms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an image.

    plan      None if not even its manifests are known
    problem   why it is not complete; "" = it is
    fetched   bytes of the blobs that were brought for it; what images share counts for one
    """

    image: Image
    plan: Plan | None
    problem: str = ""
    fetched: int = 0


@dataclass
class Meter:
    """How far it is, for people and for patience.

    planned   images whose manifests are known
    to_come   bytes of blobs that were missing, less what of them was here in part
    """

    place: Place
    planned: int = 0
    to_come: int = 0
    _done: int = 0
    _underway: dict[Digest, tuple[str, Descriptor, int]] = field(default_factory=dict)
    _best: tuple[int, int] = (0, 0)
    _grown: float = field(default_factory=time.monotonic)

    def begin(self, name: str, blob: Descriptor) -> None:
        """A blob is being brought from now on."""
        self._underway[blob.digest] = (name, blob, self.place.arrived(name, blob))

    def end(self, blob: Descriptor) -> None:
        """It is here."""
        _, _, before = self._underway.pop(blob.digest, ("", blob, blob.size))
        self._done += blob.size - before

    def came(self) -> int:
        """Bytes of blobs that came in this run."""
        parts = list(self._underway.values())
        now = self._done + sum(
            max(0, self.place.arrived(name, blob) - before) for name, blob, before in parts
        )
        if (self.planned, now) > self._best:
            self._best, self._grown = (self.planned, now), time.monotonic()
        return self._best[1]

    def idle_seconds(self) -> float:
        """How long ago something came."""
        self.came()
        return time.monotonic() - self._grown


class Preload:
    """One run.

    tick  called several times a second while something is waited for
    """

    def __init__(self, place: Place, tick: Callable[[Meter], None] = lambda _: None) -> None:
        self._place, self._tick = place, tick
        self.meter = Meter(place)
        self._locks: dict[Digest, threading.Lock] = defaultdict(threading.Lock)

    def run(self, wanted: Sequence[Wanted]) -> Iterator[Outcome]:
        """Bring images; yield what came of each, as it is known.

        Raises: NoSpace; Failure, when the storage cannot say what it lacks.
        Blocks on: the network, as long as something comes.
        """
        plans: list[Plan] = []
        for outcome in self._each(self._plan, wanted):
            if outcome.plan:
                plans.append(outcome.plan)
            else:
                yield outcome
        self._require_room(plans)
        yield from self._each(self._fetch, plans)

    def _plan(self, wanted: Wanted) -> Outcome:
        image = wanted.image
        try:
            plan = self._patiently(lambda: make_plan(self._place, image, wanted.platforms))
        except Failure as exc:
            return Outcome(image, None, str(exc))
        self.meter.planned += 1
        return Outcome(image, plan)

    def _require_room(self, plans: Sequence[Plan]) -> None:
        missing: dict[Digest, int] = {}
        for plan in plans:
            for blob in self._place.missing(plan.image.name, plan.blobs.values()):
                missing[blob.digest] = blob.size - self._place.arrived(plan.image.name, blob)
        self.meter.to_come = sum(missing.values())
        usable = self._place.usable_bytes()
        if usable is not None and self.meter.to_come > usable:
            raise NoSpace(
                f"no room: {mib(self.meter.to_come)} have to come, and {mib(usable)} are free"
                " above the reserve (reserve_bytes); no layer was fetched"
            )

    def _fetch(self, plan: Plan) -> Outcome:
        name, fetched = plan.image.name, 0
        try:
            for blob in self._place.missing(name, plan.blobs.values()):
                fetched += self._bring(name, blob)
            if plan.parts:
                self._place.finish(plan)
        except Failure as exc:
            return Outcome(plan.image, plan, str(exc), fetched)
        return Outcome(plan.image, plan, plan.problem, fetched)

    def _bring(self, name: str, blob: Descriptor) -> int:
        """Bring a blob; return the bytes that this took. Raises: Failure."""
        # Images of several upstreams may share a layer: it comes from one of them.
        with self._locks[blob.digest]:
            if not self._place.missing(name, [blob]):
                return 0
            self.meter.begin(name, blob)
            self._patiently(lambda: self._place.bring(name, blob))
            self.meter.end(blob)
            return blob.size

    def _patiently(self, work: Callable[[], T]) -> T:
        """Do it, and again as long as its failure is worth patience. Raises: Failure."""
        while True:
            try:
                return work()
            except Failure as exc:
                if self.meter.idle_seconds() >= exc.patience:
                    raise
            time.sleep(PAUSE_SECONDS)

    def _each(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Do work on each item, several at once; yield the results as they come.

        In threads that nobody waits for: whoever stops asking, stops it.
        """
        waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
        done: queue.SimpleQueue[R] = queue.SimpleQueue()
        for item in items:
            waiting.put(item)

        def drain() -> None:
            while not waiting.empty():
                try:
                    item = waiting.get_nowait()
                except queue.Empty:
                    return
                done.put(work(item))

        threads = [in_background(drain, "preload") for _ in range(min(PARALLEL, len(items)))]
        for _ in items:
            while done.empty():
                self._tick(self.meter)
                for thread in threads:
                    if thread.done():
                        thread.result()  # an error of ours ends the run
                time.sleep(TICK_SECONDS)
            yield done.get()


def mib(count: int) -> str:
    """Say a number of bytes for people."""
    return f"{count / (1 << 20):.1f} MiB"
