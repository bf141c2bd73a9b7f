"""A storage whose calls have deadlines: a Backend around a Backend that may hang."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar

from backends.base import (
    Backend,
    Entry,
    KnowsPlace,
    Reader,
    Standing,
    Writer,
)
from backends.guard.board import Board
from backends.guard.gate import Gate, Kind, Limits
from backends.guard.handles import GuardedReader, GuardedWriter, abort_late, close_late
from backends.guard.prober import Prober, Probing
from backends.guard.verdict import State
from backends.keys import validate_key

T = TypeVar("T")

COPIED_BYTES_A_SECOND = 10 << 20
"""The deadline of a link grows by a second for these: some storages have to copy."""
KEYS_AT_ONCE, LISTING_SECONDS = 256, 0.5


class Guard:
    """Passes every call on; by threads of its own, unless the entries lie on a local disk.

    A local disk is asked directly, so its readers have fileno, and it has revisions. What is open
    elsewhere has none: sendfile would hang with the storage.

    part      what the storage is called in messages and metrics
    probing   how it is found down, and back; None = only by what calls do
    board     what a prober finds, shared with other guards of the same place
    gate      of another guard of the same place; None = one of its own
    """

    def __init__(
        self,
        backend: Backend,
        part: str,
        probing: Probing | None,
        limits: Limits,
        board: Board,
        gate: Callable[[], Gate] | None = None,
    ) -> None:
        self._inner = backend
        self._part, self._probing, self._limits = part, probing, limits
        self._board = board
        self._gates: dict[int, Gate] = {}
        self._given_gate = gate
        self._watched_by = 0
        self._prober: Prober | None = None
        self.is_local: Callable[[], bool] = (
            backend.is_local if isinstance(backend, KnowsPlace) else lambda: False
        )

    def stat(self, key: str) -> Entry:
        """See Backend.stat."""
        return self._ask(partial(self._inner.stat, key))

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        """See Backend.open."""
        call = partial(self._inner.open, key, start, stop)
        if self.is_local():
            return call()
        gate = self._gate()
        return GuardedReader(gate, gate.ask(call, late=close_late))

    def create(self) -> Writer:
        """See Backend.create."""
        if self.is_local():
            return self._inner.create()
        gate = self._gate()
        return GuardedWriter(gate, gate.ask(self._inner.create, late=abort_late))

    def link(self, source: str, target: str) -> None:
        """See Backend.link."""
        call = partial(self._inner.link, source, validate_key(target))
        if self.is_local():
            return call()
        return self._gate().ask(call, Kind.DATA, seconds=self._copying(self.stat(source).size))

    def delete(self, key: str) -> None:
        """See Backend.delete."""
        self._ask(partial(self._inner.delete, key), Kind.DATA)

    def keys(self, prefix: str, after: str = "", settle: bool = False) -> Iterator[str]:
        """See Backend.keys; asks for some at a time."""
        if self.is_local():
            return self._inner.keys(prefix, after, settle)
        found = self._ask(partial(self._inner.keys, prefix, after, settle))
        return self._listed(iter(found))

    def watch(self) -> None:
        """See Watched.watch; it begins with the first call that is no local disk's."""
        self._watched_by = os.getpid()

    def unwatch(self) -> None:
        """See Watched.unwatch."""
        self._watched_by = 0
        if self._prober:
            self._prober.stop()

    def standings(self) -> list[Standing]:
        """See Watched.standings."""
        state = State.UP if self.is_local() else self._gate().state
        return [Standing(self._part, state is State.UP, state.value, self._board.words)]

    def _ask(
        self, call: Callable[[], T], kind: Kind = Kind.METADATA, seconds: float | None = None
    ) -> T:
        if self.is_local():
            return call()
        return self._gate().ask(call, kind, seconds=seconds)

    def _gate(self) -> Gate:
        """The gate of this process: a forked child has none of its parent's threads."""
        if self._given_gate:
            return self._given_gate()
        pid = os.getpid()
        gate = self._gates.get(pid)
        if gate is None:
            gate = self._gates.setdefault(pid, Gate(self._part, self._board, self._limits))
        if self._probing and self._watched_by == pid:
            with gate.watching:
                self._look_after(self._probing)
        return gate

    def _look_after(self, probing: Probing) -> None:
        """Have it probed: begin, or begin again where it was a local disk meanwhile."""
        if self._prober is None or not self._prober.is_alive():
            needed = lambda: not self.is_local()  # noqa: E731
            self._prober = Prober(self._part, probing, self._board, needed)

    def _copying(self, size: int) -> float:
        return self._limits.data_seconds + size / COPIED_BYTES_A_SECOND

    def _listed(self, keys: Iterator[str]) -> Iterator[str]:
        while batch := self._ask(partial(_some, keys)):
            yield from batch


def _some(keys: Iterator[str]) -> list[str]:
    """Take the next keys: not too many, and not for too long."""
    until, found = time.monotonic() + LISTING_SECONDS, []
    for key in islice(keys, KEYS_AT_ONCE):
        found.append(key)
        if time.monotonic() > until:
            break
    return found
