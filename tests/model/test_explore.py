"""The explorer finds what is there: all states, and a shortest way to a fault."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.model.explore import Found, explore

Counter = tuple[int, tuple[int, int]]
"""A stored number, and what two actors that add 1 have read: -1 nothing yet, -2 they are done."""
START: Counter = (0, (-1, -1))


def additions(state: Counter) -> Iterator[tuple[str, Counter]]:
    stored, read = state
    for i in (0, 1):
        if read[i] == -1:
            yield f"{i} reads", (stored, _set(read, i, stored))
        elif read[i] >= 0:
            yield f"{i} writes", (read[i] + 1, _set(read, i, -2))


def _set(read: tuple[int, int], i: int, value: int) -> tuple[int, int]:
    return (value, read[1]) if i == 0 else (read[0], value)


def lost(state: Counter) -> str:
    return "an addition is lost" if state == (1, (-2, -2)) else ""


def test_a_lost_addition_is_found_by_a_shortest_trace() -> None:
    found = explore(START, additions, lost)
    assert found.fault == "an addition is lost"
    assert sorted(found.trace) == ["0 reads", "0 writes", "1 reads", "1 writes"]
    assert {step[2:] for step in found.trace[:2]} == {"reads"}


def test_all_states_are_counted_once() -> None:
    assert explore(START, additions, lambda state: "") == Found(12)


def test_actors_that_do_the_same_may_change_names() -> None:
    def same(state: Counter) -> Counter:
        return state[0], (min(state[1]), max(state[1]))

    assert explore(START, additions, lambda state: "", same) == Found(8)
    assert len(explore(START, additions, lost, same).trace) == 4


def test_more_states_than_the_limit_are_an_error() -> None:
    with pytest.raises(OverflowError):
        explore(START, additions, lambda state: "", limit=5)
