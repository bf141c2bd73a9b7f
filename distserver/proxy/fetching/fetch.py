"""Brings one blob from its upstream into a partial, whatever the link does, and proves it.

Each try goes on where the last one broke off. Once bytes have come, only lack of progress ends it;
what was brought stays for the next one.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from distserver.oci.digests import Digest, new_hash
from distserver.proxy.fetching.partial import Lock
from distserver.proxy.fetching.room import Room
from distserver.proxy.fetching.writer import PartialWriter
from distserver.proxy.upstream.errors import (
    FINAL,
    UpstreamCorrupt,
    UpstreamError,
    UpstreamLied,
    UpstreamStalled,
    UpstreamUnavailable,
)
from distserver.proxy.upstream.limits import Rate
from distserver.proxy.upstream.registry import STALL_SECONDS, Body
from distserver.registry.hashes import Hashes

log = logging.getLogger(__name__)

GIVE_UP_SECONDS = 30.0
"""Without one new byte for so long, the fetch ends and its waiters are told."""
PROGRESS_BYTES = 1024
"""What comes in GIVE_UP_SECONDS at least; an upstream that drips is silent."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0
CLEAN_TRIES = 4


class Origin(Protocol):
    """Where a blob comes from."""

    def open(self, start: int, stall_seconds: float = STALL_SECONDS) -> Body:
        """Open the blob from a byte on; the body may begin before.

            stall_seconds  longest silence in it
        Raises: UpstreamError.
        """

    def blame(self, mixed: bool) -> None:
        """Take note that what came had the wrong digest.

        mixed  bytes of an earlier fetch were among them, so nobody is to blame for sure
        """


@dataclass(frozen=True, slots=True)
class Terms:
    """What a fetch has to keep to.

    room      for partials of this node
    rate      bytes a second
    stopped   whether nothing may be fetched any more
    patience  seconds without progress
    """

    room: Room
    rate: Rate
    stopped: Callable[[], bool]
    patience: float = GIVE_UP_SECONDS


def fetch(lock: Lock, digest: Digest, origin: Origin, terms: Terms) -> Hashes:
    """Fill the partial until it is the whole blob; return its hashes, proved and on the disk.

    Raises: UpstreamError (the bytes so far stay; with UpstreamCorrupt they are gone), NoRoom (they
    stay), OSError (this node's disk). Blocks on: the upstream, as long as bytes come, and
    terms.patience without.
    """
    with lock.writer(digest.algorithm) as writer:
        for _ in range(CLEAN_TRIES):
            mixed = bool(writer.hashes.size)
            if mixed and writer.hashes.digest == digest:  # a crash lost its size only
                lock.set_size(writer.hashes.size)
            else:
                _Filling(lock, writer, origin, terms).run()
            if writer.hashes.digest == digest:
                writer.seal()
                return writer.hashes
            log.error("%s: the upstream's bytes have the digest %s", digest, writer.hashes.digest)
            origin.blame(mixed)
            writer.restart()
            lock.forget_size()
        raise UpstreamCorrupt(f"the bytes that come are not those of {digest}")


class _Filling:
    """One blob on its way, over any number of connections."""

    def __init__(self, lock: Lock, writer: PartialWriter, origin: Origin, terms: Terms) -> None:
        self._lock, self._writer, self._origin, self._terms = lock, writer, origin, terms
        self._came = False
        self._mark, self._marked = writer.hashes.size, time.monotonic()

    def run(self) -> None:
        pause, mark = FIRST_PAUSE_SECONDS, self._mark
        while error := self._try():
            self._note_progress()
            if self._mark != mark:
                pause, mark = FIRST_PAUSE_SECONDS, self._mark
            at = self._writer.hashes.size
            log.info("%s broken off at byte %d: %s", self._lock.partial.directory.name, at, error)
            # The first answer decides whether the upstream is there at all.
            if self._came and self._is_late(pause):
                raise UpstreamStalled(f"it stands still: {error.reason}")
            if not self._came or self._terms.stopped():
                raise error
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _try(self) -> UpstreamError | None:
        """Ask once; return None when the blob is whole, else what broke it off."""
        try:
            return None if self._append() else UpstreamUnavailable("the upstream ends it short")
        except FINAL:
            raise
        except UpstreamError as exc:
            return exc

    def _note_progress(self) -> None:
        """Note that enough came since the last time that it did."""
        if self._writer.hashes.size >= self._mark + PROGRESS_BYTES:
            self._mark, self._marked = self._writer.hashes.size, time.monotonic()

    def _is_late(self, seconds: float = 0.0) -> bool:
        """Whether patience with lack of progress is over, or will be in so many seconds."""
        return time.monotonic() + seconds - self._marked > self._terms.patience

    def _append(self) -> bool:
        """Ask once from where we stand; return whether the blob is whole then."""
        writer, known = self._writer, self._lock.partial.size()
        if known is not None and writer.hashes.size == known:
            return True
        with self._origin.open(writer.hashes.size) as body:
            self._came = True
            if body.size <= writer.hashes.size:  # nothing can follow what we have: it is no part
                writer.restart()
                self._lock.forget_size()
                known = None
            if body.start > writer.hashes.size:
                raise UpstreamUnavailable(f"the blob has {body.size} bytes, fewer than came before")
            self._terms.room.require(self._lock.partial, body.size)
            if known != body.size:  # the bytes so far may be right all the same
                self._lock.set_size(body.size)
            if body.start < writer.hashes.size:
                self._skip(body)
            self._copy(body)
        return writer.hashes.size == body.size

    def _copy(self, body: Body) -> None:
        rate = self._terms.rate
        while not self._terms.stopped() and (data := body.read(rate.read_bytes)):
            if self._writer.hashes.size + len(data) > body.size:
                raise UpstreamLied("more bytes come than the upstream announced")
            self._writer.append(data)
            self._lock.progress()
            rate.spend(len(data))
            self._note_progress()
            if self._is_late() and self._writer.hashes.size < body.size:
                raise UpstreamUnavailable("it only drips")

    def _skip(self, body: Body) -> None:
        """Pass over what we have; if the upstream sends other bytes now, begin with its own."""
        writer, rate = self._writer, self._terms.rate
        found, left = new_hash(writer.hashes.algorithm), writer.hashes.size
        mark, marked = left, time.monotonic()
        while left and (data := body.read(min(rate.read_bytes, left))):
            found.update(data)
            left -= len(data)
            rate.spend(len(data))
            if left <= mark - PROGRESS_BYTES:
                mark, marked = left, time.monotonic()
            elif time.monotonic() - marked > self._terms.patience:
                raise UpstreamUnavailable("it only drips")
        if left:
            raise UpstreamUnavailable("the upstream ignores ranges and breaks off early")
        if found.hexdigest() != writer.hashes.digest.hex:
            writer.restart()
            raise UpstreamUnavailable("the upstream sends other bytes than before")
