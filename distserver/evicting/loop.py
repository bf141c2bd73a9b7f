"""Looks at the cache again and again, in one process of the node, and lets go what has to go."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from backends import space_of
from backends.base import Space
from backends.errors import StorageError
from distserver.evicting.evict import OFFLINE, Evicted, Evictor
from distserver.evicting.images import Image, Look, Looker
from distserver.evicting.inuse import InUse, Used
from distserver.evicting.kubernetes import NotTold
from distserver.evicting.pins import Pinned, Pins
from distserver.evicting.published import Published
from distserver.evicting.pulls import Key, Pulls
from distserver.evicting.room import Bounds
from distserver.evicting.standing import DIRECTORY, Standing
from distserver.metrics import Metrics
from distserver.proxy.fetching.allowance import Allowance
from distserver.proxy.fetching.room import Room
from distserver.proxy.upstream.mode import Mode
from distserver.registry import Registry
from distserver.registry.locks import elected

log = logging.getLogger(__name__)

LOOK_SECONDS, SHARE = 5.0, 20
"""Pause between two looks: the longer of this and so many times what the last one took."""
WAKE_SECONDS = 0.2
SELDOM_SECONDS = 3600.0
"""With room enough, and no cap, the cache is only measured so often."""
ELECT_SECONDS = 5.0
FREED_SECONDS = 60.0
"""How long room that was made is waited for, before more goes for the floor: somebody may still
read what went."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the loop asks. lease: whether this node is the one of the storage that evicts."""

    registry: Registry
    looker: Looker
    evictor: Evictor
    pulls: Pulls
    published: Published
    pins: Pins
    in_use: InUse
    room: Room
    allowance: Allowance | None
    mode: Mode
    lease: Callable[[], bool]


class Eviction:
    """The loop of a node."""

    def __init__(self, state: Path, bounds: Bounds, parts: Parts, metrics: Metrics) -> None:
        self._state, self._bounds, self._parts, self._metrics = state, bounds, parts, metrics
        self._stopped = threading.Event()
        self._said, self._hurries = "", False
        self._awaited_bytes, self._awaited_until, self._next_look = 0, 0.0, 0.0
        self.standing = Standing(cap=bounds.cap_bytes)

    def start(self) -> None:
        """Begin, in a thread. Call it after fork."""
        threading.Thread(target=self._run, name="eviction", daemon=True).start()

    def stop(self) -> None:
        """Let another process go on: this one is about to end."""
        self._stopped.set()

    def look(self) -> None:
        """Look once, and let go what has to go and may."""
        try:
            self.standing = self._looked()
        except (StorageError, OSError) as exc:
            self._hurries = False
            self.standing = replace(self.standing, reason="error", words=str(exc))
        self._tell()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with elected(self._state / DIRECTORY / "lock") as chosen:
                    while chosen and not self._stopped.is_set():
                        began = time.monotonic()
                        self.look()
                        self._pause(time.monotonic() - began)
            except OSError as exc:
                log.warning("nothing is evicted: %s", exc)
            except Exception:  # the thread would end, and nothing ever be evicted again
                log.exception("nothing is evicted, by a fault of ours")
            self._stopped.wait(ELECT_SECONDS)

    def _pause(self, took: float) -> None:
        """Wait; not for long when the cap was reached meanwhile, or more has to go and may."""
        began = time.monotonic()
        until = began + max(LOOK_SECONDS, SHARE * took)
        while (now := time.monotonic()) < until and not self._stopped.wait(WAKE_SECONDS):
            if self._hurries and now > began + 2 * took and self._is_urgent():
                return

    def _is_urgent(self) -> bool:
        allowance = self._parts.allowance
        left = allowance.left() if allowance else None
        return bool(self.standing.over) or (left is not None and self._bounds.is_low(left))

    def _looked(self) -> Standing:
        parts, bounds, space = self._parts, self._bounds, self._space()
        if not bounds.cap_bytes and not bounds.excess(0, 0, space) and self._looked_lately():
            parts.pulls.flush()
            return replace(self.standing, over=0, reason="", words="")
        before = parts.allowance.left() if parts.allowance else None
        parts.evictor.collect()  # what it could not the last time
        coming, look = parts.room.underway(), parts.looker.look()
        stored = {str(digest) for digest, size in look.sizes.items() if size}
        underway = sum(size for digest, size in coming.items() if digest not in stored)
        parts.pulls.flush()
        last = parts.published.exchange(parts.pulls.last())
        need = bounds.excess(look.bytes, underway, space)
        went, standing = Evicted(), Standing(look.bytes, bounds.cap_bytes)
        if need:
            went, standing = self._evict(look, last, need, standing)
        if went.bytes and space:
            self._awaited_bytes = space.free_bytes + went.bytes // 2
            self._awaited_until = time.monotonic() + FREED_SECONDS
        self._hurries = not need or bool(went.images)
        if parts.allowance:
            parts.allowance.grant(bounds.left(look.bytes - went.bytes, underway), before)
        return standing

    def _looked_lately(self) -> bool:
        """Whether it was looked at within the hour; if not, this is a look."""
        now = time.monotonic()
        if now < self._next_look:
            return True
        self._next_look = now + SELDOM_SECONDS
        return False

    def _space(self) -> Space | None:
        """The room of the storage; None = it is not known, or room was made that is awaited."""
        space = space_of(self._parts.registry.backend)
        awaits = time.monotonic() < self._awaited_until
        return None if space and awaits and space.free_bytes < self._awaited_bytes else space

    def _evict(
        self, look: Look, last: Mapping[Key, float], need: int, standing: Standing
    ) -> tuple[Evicted, Standing]:
        parts = self._parts
        if parts.mode.offline:
            return Evicted(), replace(standing, over=need, reason=OFFLINE)
        if not parts.lease():
            return Evicted(), replace(standing, over=need)
        try:
            rules = Rules(
                look, Pinned.of(parts.pins.all()), parts.in_use.now(), parts.room.fetching()
            )
        except NotTold as exc:
            return Evicted(), replace(standing, over=need, reason="unknown use", words=str(exc))
        order = sorted(rules.images(), key=lambda image: last_pull(look, last, image))
        went = parts.evictor.evict(look, order, need, rules.keeps)
        self._metrics.evicted_images.inc(went.images)
        self._metrics.evicted_bytes.inc(went.bytes)
        over = max(0, need - went.bytes)
        reason = _reason(went) if over and not went.images else ""
        return went, replace(standing, bytes=standing.bytes - went.bytes, over=over, reason=reason)

    def _tell(self) -> None:
        """Save what was found, and say in the log what hinders: once, until that changes."""
        hindrance = self.standing.hindrance
        if hindrance and self.standing.reason != self._said:
            log.warning("%s", hindrance)
        elif self._said and not hindrance:
            log.info("nothing hinders eviction any more")
        self._said = self.standing.reason
        try:
            self.standing.save(self._state)
        except OSError as exc:
            log.debug("how the cache stands is not told: %s", exc)


@dataclass(frozen=True, slots=True)
class Rules:
    """Which images of a look must stay.

    coming  digests of blobs that are being fetched
    """

    look: Look
    pinned: Pinned
    used: Used
    coming: frozenset[str]

    def images(self) -> list[Image]:
        """Return all images."""
        return [image for each in self.look.repositories.values() for image in each.images()]

    def keeps(self, image: Image) -> str | None:
        """Why an image must stay, in a word; None = it may go."""
        held = self.look.repositories[image.name].held
        digests = {str(digest) for digest in image.manifests}
        configs = {str(held[digest].links.config) for digest in image.manifests}
        if not held[image.top].pulled:
            return "pushed"
        if self.pinned.holds(image.names):
            return "pinned"
        if image.names & self.used.names or (digests | configs) & self.used.digests:
            return "in use"
        blobs = {str(blob) for digest in image.manifests for blob in held[digest].links.blobs}
        return "coming" if blobs & self.coming else None


def last_pull(look: Look, last: Mapping[Key, float], image: Image) -> float:
    """When something of an image was last pulled, or came."""
    held = look.repositories[image.name].held
    return max(
        max(held[digest].came, last.get((image.name, str(digest)), 0.0))
        for digest in image.manifests
    )


def _reason(went: Evicted) -> str:
    return went.kept.most_common(1)[0][0] if went.kept else "no images"
