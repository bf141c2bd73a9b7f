"""Reads a partial blob that another thread or process fills."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from distserver.proxy.fetching.partial import Partial
from distserver.proxy.fetching.writer import is_sealed
from distserver.proxy.upstream.errors import UpstreamLied
from distserver.registry.verified import HOLD_BACK_BYTES

GROW_SECONDS, WAIT_SECONDS = 0.04, 0.2
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of an open local file."""

    descriptor: int
    start: int
    count: int


class Following:
    """Reads what is there of a partial, through one open file.

    grown  monotonic time when it was last seen to grow
    """

    def __init__(self, directory: Path) -> None:
        self._partial = Partial(directory)
        self._file: BinaryIO | None = None
        self._shown = 0
        self.available, self.grown = 0, time.monotonic()

    def read(self, at: int, n: int, size: int) -> bytes:
        """Return up to n bytes from at on; b"" where none are there yet. See span."""
        span = self.span(at, n, size)
        return self.again(at, at + span.count) if span else b""

    def span(self, at: int, n: int, size: int) -> Span | None:
        """Return where up to n bytes from at on lie; None where none are there yet.

            size  of the whole, as the reader was told; its last 64 KiB wait until all is proved
        Waits WAIT_SECONDS for each next byte where the file is read to its end: that costs next to
        nothing, where a look at the storage and the upstream costs much. A disk that cannot be read
        has none. Raises: UpstreamLied when what was read of it before, or the size, proved wrong
        meanwhile.
        """
        try:
            while not (span := self._span(at, n, size)) and at <= self.available and self._wait():
                pass
            return span
        except OSError as exc:
            log.warning("a partial blob cannot be read: %s", exc)
            return None

    @property
    def proved(self) -> bool:
        """Whether the digest of what it reads was proved. Costs next to nothing."""
        try:
            return self._file is not None and is_sealed(self._file.fileno())
        except OSError as exc:
            log.warning("a partial blob cannot be read: %s", exc)
            return False

    @property
    def idle(self) -> float:
        """Seconds since a byte came, or a fetch was begun, in whatever process."""
        try:
            return self._partial.idle_seconds()
        except OSError as exc:
            log.warning("a partial blob cannot be read: %s", exc)
            return 0.0

    def again(self, start: int, end: int) -> bytes:
        """Return bytes that read has returned before, also when the partial is gone now.

        Fewer, or none, where they cannot be read any more.
        """
        try:
            return os.pread(self._file.fileno(), end - start, start) if self._file else b""
        except OSError as exc:
            log.warning("a partial blob cannot be read: %s", exc)
            return b""

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()

    def _wait(self) -> bool:
        """Wait for the partial to grow; False when it has not after WAIT_SECONDS, or is gone."""
        until = time.monotonic() + WAIT_SECONDS
        while self._file and time.monotonic() < until:
            time.sleep(GROW_SECONDS)
            if os.fstat(self._file.fileno()).st_size > self.available:
                return True
            if not self._partial.available():
                return False
        return False

    def _span(self, at: int, n: int, size: int) -> Span | None:
        if not self._look() or not self._file:
            return None
        free = max(0, size - HOLD_BACK_BYTES)
        if at >= free and self._partial.proved_seconds_ago() is not None:
            if self.available != size:
                raise UpstreamLied(f"it has {self.available} bytes, {size} were announced")
            free = size
        end = min(self.available, free, at + n)
        if end <= at:
            return None
        self._shown = max(self._shown, end)
        return Span(self._file.fileno(), at, end - at)

    def _look(self) -> bool:
        """Note how much is there; return whether something is."""
        if self._file is None:
            self._file = self._partial.open()
        if self._file is None:
            return False
        status = os.fstat(self._file.fileno())
        if status.st_size < self._shown:  # emptied, or cut to what a crash left whole
            raise UpstreamLied("the bytes that came so far were wrong")
        if not status.st_nlink and not status.st_size:
            self._begin_again()
            return False
        if status.st_size != self.available:
            self.available, self.grown = status.st_size, time.monotonic()
        return True

    def _begin_again(self) -> None:
        """The file was emptied, before anything of it was read."""
        self.close()
        self._file, self.available = None, 0
