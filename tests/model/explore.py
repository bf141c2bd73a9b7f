"""Search every interleaving of a small protocol, breadth first: a fault comes by a shortest way.

A model is data and pure functions: a start, the steps that are possible in a state, and what is
wrong with a state. States are tuples, so that equal ones are met only once. An actor that crashes
is one whose next step is never taken; one that is paused takes it late: both are searched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

S = TypeVar("S", bound=Hashable)
Steps = Callable[[S], Iterable[tuple[str, S]]]


@dataclass(frozen=True, slots=True)
class Found:
    """What a search met.

    states  how many different ones
    fault   what is wrong with the last state of the trace; "" = nothing is wrong with any
    trace   the names of a shortest way to it
    """

    states: int
    fault: str = ""
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.fault:
            return f"{self.states:,} states, nothing wrong"
        return "\n".join((f"{self.fault} ({self.states:,} states)", *self.trace))


def explore(
    start: S,
    steps: Steps[S],
    wrong: Callable[[S], str],
    same: Callable[[S], S] = lambda state: state,
    limit: int = 8_000_000,
) -> Found:
    """Search all states that can be reached.

    wrong  says what is wrong with a state; "" = nothing
    same   one state for all that differ only by names of actors: fewer to search. The trace
           then mixes the names; search again without it to read one
    limit  states of about 500 bytes; more are an OverflowError, so that memory lasts
    """
    start = same(start)
    came: dict[S, S | None] = {start: None}
    todo = deque([start])
    while todo:
        state = todo.popleft()
        if fault := wrong(state):
            return Found(len(came), fault, _trace(state, came, steps, same))
        for _, after in steps(state):
            after = same(after)
            if after not in came:
                came[after] = state
                todo.append(after)
        if len(came) > limit:
            raise OverflowError(f"more than {limit} states")
    return Found(len(came))


def _trace(
    state: S, came: dict[S, S | None], steps: Steps[S], same: Callable[[S], S]
) -> tuple[str, ...]:
    """Return the names of the steps that led to a state: only states are kept while searching."""
    names: list[str] = []
    while (before := came[state]) is not None:
        names.append(next(name for name, after in steps(before) if same(after) == state))
        state = before
    return tuple(reversed(names))
