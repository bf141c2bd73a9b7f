"""Put the actors of a setup together, say what must never be, and search."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TypeVar

from tests.model.collecting import collector_steps, contents
from tests.model.explore import Found, explore
from tests.model.pushing import reader_steps, writer_steps
from tests.model.removing import remover_steps
from tests.model.storage import (
    END,
    Collector,
    Look,
    Mistake,
    Move,
    Reader,
    Remover,
    Setup,
    State,
    Writer,
)

A = TypeVar("A", Writer, Reader)
FIRST = {
    "acknowledged": Writer(END, record="live", tagged=True, acked=True),
    "untagged": Writer(END, record="live"),
    "pulled": Writer(END, record="live", tagged=True, pulled=True),
}
NAMED = {Mistake.ONE_TRASH_NAME, Mistake.SHARED_RECORD, Mistake.PULLED_COUNTS, Mistake.OLD_COUNTS}


def search(setup: Setup) -> Found:
    """Search all that can happen."""
    return explore(start(setup), partial(_steps, setup), partial(_wrong, setup))


def search_alike(setup: Setup) -> Found:
    """Search as one all that differs only by names of writers and runs; a trace mixes the names."""
    named = setup.mistakes & NAMED or setup.removers or setup.late or setup.first or setup.shares
    if named or len(set(setup.pushes)) > 1:
        raise ValueError("somebody remembers a writer or a run by its name")
    return explore(start(setup), partial(_steps, setup), partial(_wrong, setup), same)


def _steps(setup: Setup, state: State) -> Iterator[Move]:
    for i in range(len(state.writers)):
        yield from writer_steps(setup, state, i)
    for j in range(len(state.collectors)):
        yield from collector_steps(setup, state, j)
    for i in range(len(state.readers)):
        yield from reader_steps(setup, state, i)
    for k in range(len(state.removers)):
        yield from remover_steps(setup, state, k)


def start(setup: Setup) -> State:
    """Return a storage with all contents, old and, but for an old manifest, in nobody's use."""
    writers = [Writer() for _ in setup.pushes]
    if setup.first:
        writers[0] = FIRST[setup.first]
    return State(
        (1 << len(contents(setup))) - 1,
        0,
        tuple(writers),
        (Collector(),) * setup.collectors,
        (Reader(),) * setup.readers,
        tuple(Remover(kind) for kind in setup.removers),
    )


def _wrong(setup: Setup, state: State) -> str:
    for i, writer in enumerate(state.writers):
        if writer.acked:
            if not state.record_of(i).seen:
                return f"writer {i} was acknowledged, and the record is gone"
            if any(map(state.lost, setup.pushes[i])):
                return f"writer {i} was acknowledged, and content is gone"
    for reader in state.readers:
        if reader.at == "robbed":
            return "a reader was given a manifest whose blobs are gone"
        if reader.at == "refused":
            return "a reader was told that acknowledged content is absent"
    return ""


def same(state: State) -> State:
    """Order writers and runs by what they did; what remembers runs gets their new numbers."""
    runs = state.collectors
    # What a run is, but for the numbers of others that it remembers.
    ranks = [(run._replace(listed=()), [found.bit_count() for found in run.listed]) for run in runs]
    order = sorted(range(len(runs)), key=ranks.__getitem__)
    if order != list(range(len(runs))):
        state = _renumbered(state, order)
    writers = tuple(sorted(state.writers))
    return state if writers == state.writers else state._replace(writers=writers)


def _renumbered(state: State, order: list[int]) -> State:
    def runs(mask: int) -> int:
        return mask and sum((mask >> old & 1) << new for new, old in enumerate(order))

    def looking(actor: A) -> A:
        done, found = actor.look
        return actor._replace(look=Look(done, runs(found))) if found else actor

    return state._replace(
        writers=tuple(map(looking, state.writers)),
        collectors=tuple(
            state.collectors[j]._replace(listed=tuple(map(runs, state.collectors[j].listed)))
            for j in order
        ),
        readers=tuple(map(looking, state.readers)),
    )
