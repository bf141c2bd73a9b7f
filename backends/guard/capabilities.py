"""Guards with the capabilities of what they guard, and no others: a class for each set of them.

Methods of a class, not attributes of an object: those would make a cycle with it, and keep the
directory of a guard that nobody uses any more open until a garbage collection.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from backends.base import (
    Adopts,
    Backend,
    Guarded,
    HasSpace,
    LocalPath,
    Moves,
    Revises,
    Space,
    Sweeps,
)
from backends.errors import Unavailable
from backends.guard.backend import Guard
from backends.guard.gate import Kind
from backends.keys import validate_key

SWEEP_SECONDS = 60.0


def guard_for(backend: Backend) -> type[Guard]:
    """Return the kind of guard that can do what a backend can."""
    return _class_with(tuple(made for kind, made in _CLASSES.items() if isinstance(backend, kind)))


@cache
def _class_with(offered: tuple[type[Guard], ...]) -> type[Guard]:
    return type("Guard", offered or (Guard,), {})


class _Capable(Guard):
    _inner: Any  # it has the capability of the class


class _Adopting(_Capable):
    def adopt(self, path: str, key: str) -> None:
        """See Adopts.adopt: on a local disk only."""
        if not self.is_local():
            raise Unavailable(f"{self._part} is no local disk: it cannot take over a file")
        self._inner.adopt(path, key)


class _Moving(_Capable):
    def move(self, source: str, target: str) -> None:
        """See Moves.move."""
        self._ask(partial(self._inner.move, source, validate_key(target)), Kind.DATA)


class _Revising(_Capable):
    def revision(self, prefix: str) -> tuple[int, ...] | None:
        """See Revises.revision: on a local disk only."""
        found: tuple[int, ...] | None = self._inner.revision(prefix) if self.is_local() else None
        return found


class _Local(_Capable):
    def local_path(self, key: str) -> str:
        """See LocalPath.local_path: on a local disk only."""
        if not self.is_local():
            raise Unavailable(f"{self._part} is no local disk: its files are read with deadlines")
        return str(self._inner.local_path(key))


class _Measured(_Capable):
    def space(self) -> Space | None:
        """See HasSpace.space."""
        space: Space | None = self._ask(self._inner.space)
        return space


class _Sweeping(_Capable):
    def sweep(self, max_age_seconds: float = 86400) -> int:
        """See Sweeps.sweep."""
        call = partial(self._inner.sweep, max_age_seconds)
        return int(self._ask(call, Kind.DATA, SWEEP_SECONDS))


class _Identified(_Capable):
    def unguarded(self) -> Guard:
        """See Guarded.unguarded."""
        bare = self._inner.unguarded()
        kind = guard_for(bare)
        return kind(bare, self._part, None, self._limits, self._board, self._gate)

    def blank(self) -> bool:
        """See Guarded.blank."""
        return bool(self._ask(self._inner.blank, Kind.DATA))


_CLASSES: dict[type, type[Guard]] = {
    Adopts: _Adopting,
    Moves: _Moving,
    Revises: _Revising,
    LocalPath: _Local,
    HasSpace: _Measured,
    Sweeps: _Sweeping,
    Guarded: _Identified,
}
