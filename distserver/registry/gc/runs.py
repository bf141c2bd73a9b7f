"""The runs of the collector, as entries: who took what into the trash, and whether it is through.

    gc/<run>/begun     before the run takes anything
    gc/<run>/moved     it takes nothing any more

A storage that cannot move takes in two steps, and a run that died between them may wake up and do
the second one, after somebody has brought the content back. As long as it has not said that it is
through, its trash entries are the only copies that are certain: nobody purges them.
"""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from collections.abc import Iterable

from backends import Backend, put
from backends.base import Moves
from backends.errors import NotFound
from distserver.oci.digests import Digest
from distserver.registry import layout

BEGUN, MOVED = "begun", "moved"
DEAD_SECONDS = 86400.0
"""A run that began so long ago, and is not through, is given up where it cannot do harm."""


def new_run() -> str:
    """Return a name that no other run has; the time is for people."""
    return f"{time.strftime('%Y%m%dt%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"


class Runs:
    """The entries under gc/<run>/."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._moves = isinstance(backend, Moves)

    def begin(self) -> tuple[str, float]:
        """Note a new run; return its name, and the time by the storage's clock.

        Raises: Full, Unavailable.
        """
        run = new_run()
        return run, self._note(run, BEGUN)

    def end(self, run: str, taken: Iterable[Digest] = ()) -> float:
        """Note that a run takes nothing any more; return the time. Raises: Full, Unavailable.

        taken  what it took, where others have to agree
        """
        return self._note(run, MOVED, "".join(f"{digest}\n" for digest in taken).encode())

    def forget(self, run: str) -> None:
        """Remove the entries of a run that is through and has nothing in the trash.

        Raises: Unavailable.
        """
        said = [key.rpartition("/")[2] for key in self._backend.keys(f"{layout.GC}{run}/")]
        for what in sorted(said, key=MOVED.__eq__):  # that one last: the rest is still of a run
            self._backend.delete(f"{layout.GC}{run}/{what}")  # that is through

    def unfinished(self) -> list[str]:
        """Runs that have not said that they are through. Raises: Unavailable."""
        return [run for run, said in self._said().items() if MOVED not in said]

    def over(self, now: float, hold_seconds: float) -> set[str]:
        """Return the runs whose trash entries may be purged by now. Raises: Unavailable.

        now  by the storage's clock
        """
        said = self._said()
        return {run for run in said if self._is_over(run, said[run], now, hold_seconds)}

    def known(self) -> set[str]:
        """All runs of which something is noted. Raises: Unavailable."""
        return set(self._said())

    def _is_over(self, run: str, said: set[str], now: float, hold_seconds: float) -> bool:
        try:
            if MOVED in said:
                return now - self._time(run, MOVED) >= hold_seconds
            return self._moves and now - self._time(run, BEGUN) >= hold_seconds + DEAD_SECONDS
        except NotFound:  # forgotten in this moment, so it was through
            return True

    def _said(self) -> dict[str, set[str]]:
        said = defaultdict[str, set[str]](set)
        for key in self._backend.keys(layout.GC):
            run, _, what = key.removeprefix(layout.GC).partition("/")
            if what in (BEGUN, MOVED):
                said[run].add(what)
        return said

    def _note(self, run: str, what: str, data: bytes = b"") -> float:
        put(self._backend, f"{layout.GC}{run}/{what}", data)
        return self._time(run, what)

    def _time(self, run: str, what: str) -> float:
        return self._backend.stat(f"{layout.GC}{run}/{what}").modified
