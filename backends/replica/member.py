"""One member of a set: a storage of its own, known by its identity, called by its own threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TypeVar

from backends.base import Backend, Standing, Watched
from backends.errors import StorageError, Unavailable
from backends.identity import unguarded
from backends.replica.lane import Lane

T = TypeVar("T")
READ_SECONDS = 1.0
"""First answer of a read."""
WRITE_SECONDS = 10.0
_WEIGHT = 0.2
_FAILED_SECONDS = 1.0

Opener = Callable[[str | None], Backend]
"""Opens the storage of a member; takes the id that it must have, None = any."""
Admit = Callable[["Member"], str]
"""Returns the id of a member that may take part. Raises: Unavailable."""


class Member:
    """A storage at a place, once it has shown that it is a member.

    name  its URL, for people
    open  makes the storage
    """

    def __init__(self, name: str, open_: Opener, admit: Admit) -> None:
        self.name, self.open = name, open_
        self.id: str | None = None
        self.latency = 0.0
        self._admit = admit
        self._backends: dict[str, Backend] = {}
        self._backend = open_(None)
        self._raw = unguarded(self._backend)
        self._admitted = self._watched = False
        self._reads, self._writes = Lane(name), Lane(name)

    def ask(self, call: Callable[[Backend], T], seconds: float = READ_SECONDS) -> Future[T]:
        """Read in a thread; what goes wrong is in the future. How long it took is remembered."""
        return self._reads.submit(partial(self._timed, call), seconds)

    def tell(self, call: Callable[[Backend], T], seconds: float = WRITE_SECONDS) -> Future[T]:
        """Write in a thread; what goes wrong is in the future."""
        return self._writes.submit(partial(self._known, call), seconds)

    def probe(self, call: Callable[[Backend], T], seconds: float = WRITE_SECONDS) -> Future[T]:
        """Call with whatever lies there, member or not, in a thread."""
        return self._writes.submit(lambda: call(self.raw()), seconds)

    def raw(self) -> Backend:
        """Return whatever lies there, member or not. Only for threads of this member."""
        return self._raw

    def backend(self) -> Backend:
        """Return the storage, which is then bound to its id. Only for threads of this member.

        Raises: Unavailable.
        """
        return self._backend if self._admitted else self._meet()

    def watch(self) -> None:
        """See Watched.watch."""
        self._watched = True
        if isinstance(self._backend, Watched):
            self._backend.watch()

    def unwatch(self) -> None:
        """See Watched.unwatch."""
        self._watched = False
        if isinstance(self._backend, Watched):
            self._backend.unwatch()

    def standing(self, problem: str) -> Standing:
        """Say how it stands, when the set has that problem with it. Never blocks."""
        watched: list[Standing] = (
            self._backend.standings() if isinstance(self._backend, Watched) else []
        )
        for standing in watched:
            if not (standing.up and problem):
                return replace(standing, part=self.name)
        return Standing(self.name, not problem, "unused" if problem else "up", problem)

    def _meet(self) -> Backend:
        """Ask the storage who it is. What is known of one that hangs is kept if it is the same.

        Threads that meet it at once get the same one, so that there is one to be watched.
        """
        before, id_ = self._backend, self._admit(self)
        backend = self._backends.setdefault(id_, self.open(id_))
        if backend is not before:
            if isinstance(before, Watched):
                before.unwatch()
            self._backend, self._raw = backend, unguarded(backend)
        self.id, self._admitted = id_, True
        if self._watched:
            self.watch()
        return backend

    def _known(self, call: Callable[[Backend], T]) -> T:
        """Call; a storage that was away shows again who it is before it is used."""
        try:
            return call(self.backend())
        except Unavailable:
            self._admitted = False
            raise

    def _timed(self, call: Callable[[Backend], T]) -> T:
        began = time.monotonic()
        try:
            result = self._known(call)
        except Unavailable:
            self._took(_FAILED_SECONDS)
            raise
        except StorageError:
            self._took(time.monotonic() - began)
            raise
        self._took(time.monotonic() - began)
        return result

    def _took(self, seconds: float) -> None:
        self.latency += _WEIGHT * (seconds - self.latency)


def by_latency(members: list[Member]) -> list[Member]:
    """Return members, those that answered fastest lately first."""
    return sorted(members, key=lambda member: member.latency)
