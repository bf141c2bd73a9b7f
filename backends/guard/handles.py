"""Readers and writers of a storage that may hang."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Self, TypeVar

from backends.base import Reader, Writer
from backends.errors import Unavailable
from backends.guard.gate import Gate, Kind, Overdue

T = TypeVar("T")
log = logging.getLogger(__name__)

PIECE_BYTES = 1 << 20
"""What one call reads or writes at most: its deadline holds down to 0.1 MB/s."""


class _Handle:
    """Something open in the storage: one call at a time, and its end after the last of them.

    end   what frees it
    """

    def __init__(self, gate: Gate, end: Callable[[], None]) -> None:
        self._gate = gate
        self._end: Callable[[], None] | None = end

    def ask(self, call: Callable[[], T]) -> T:
        """Make one call. One that is overdue ends the handle, as soon as it returns."""
        end = self._end
        if end is None:
            raise Unavailable("it is closed, or was given up")
        try:
            return self._gate.ask(call, Kind.DATA, late=lambda _: end())
        except Overdue:
            self._end = None
            raise

    def done(self) -> None:
        """Take note that nothing is left to be freed."""
        self._end = None

    def close(self) -> None:
        """Free what it holds, without waiting for that."""
        end, self._end = self._end, None
        if end:
            self._gate.later(end)

    def abandon(self) -> None:
        """The same, waiting for it as long as the storage answers."""
        end, self._end = self._end, None
        if end is None:
            return
        try:
            self._gate.ask(end, Kind.DATA)
        except Overdue as exc:
            log.warning("what was begun is put in order late: %s", exc)
        except Unavailable:
            self._gate.later(end)


class GuardedReader:
    """A Reader whose reads have a deadline; without fileno, since sendfile would have none."""

    def __init__(self, gate: Gate, inner: Reader) -> None:
        self.size = inner.size
        self._inner, self._handle = inner, _Handle(gate, inner.close)

    def read(self, n: int = -1) -> bytes:
        """See Reader.read. Blocks: until the deadline at most, for each 1 MiB."""
        if n >= 0:
            return self._piece(n)
        return b"".join(iter(partial(self._piece, PIECE_BYTES), b""))

    def _piece(self, n: int) -> bytes:
        return self._handle.ask(partial(self._inner.read, min(n, PIECE_BYTES)))

    def close(self) -> None:
        """See Reader.close."""
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class GuardedWriter:
    """A Writer whose writes have a deadline, and its commit too."""

    def __init__(self, gate: Gate, inner: Writer) -> None:
        self._inner, self._handle = inner, _Handle(gate, inner.abort)

    def write(self, data: bytes | memoryview) -> None:
        """See Writer.write."""
        for start in range(0, len(data), PIECE_BYTES):
            self._handle.ask(partial(self._inner.write, data[start : start + PIECE_BYTES]))

    def commit(self, key: str) -> None:
        """See Writer.commit."""
        self._handle.ask(partial(self._inner.commit, key))
        self._handle.done()

    def abort(self) -> None:
        """See Writer.abort."""
        self._handle.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()


def close_late(future: Future[Reader]) -> None:
    """Close a reader that came after its caller had given up."""
    if future.exception() is None:
        future.result().close()


def abort_late(future: Future[Writer]) -> None:
    """Abort a writer that came after its caller had given up."""
    if future.exception() is None:
        future.result().abort()
