"""Every interleaving of pushes, pulls, runs of the collector and removals, with no time to spare.

No acknowledged content is lost, and nobody is told that it is absent; each known mistake is found.
"""

from __future__ import annotations

import pytest

from tests.figures import record
from tests.model.cases import ALIKE, DIFFERENT, HARMLESS, MISTAKES, with_mistake
from tests.model.search import search, search_alike
from tests.model.storage import Mistake, Setup

AIM = "nothing acknowledged is lost or denied"


@pytest.mark.parametrize("name", ALIKE)
def test_nothing_is_lost(name: str) -> None:
    found = search_alike(ALIKE[name])
    assert not found.fault, found
    record("model check", name, AIM, str(found))


@pytest.mark.parametrize("name", DIFFERENT)
def test_nothing_is_lost_when(name: str) -> None:
    found = search(DIFFERENT[name])
    assert not found.fault, found
    record("model check", name, AIM, str(found))


def test_each_mistake_is_found() -> None:
    traces = {}
    for mistake, (fault, setup) in MISTAKES.items():
        found = search(with_mistake(setup, mistake))
        assert fault in found.fault, f"{mistake}: {found}"
        assert not search(setup).fault, f"not the fault of: {mistake}"
        traces[mistake] = len(found.trace)
    figure = f"all, in {min(traces.values())} to {max(traces.values())} steps"
    record("model check", f"{len(traces)} seeded mistakes", "each is found", figure)


@pytest.mark.parametrize(
    "mistake",
    [Mistake.LATE_LIST, Mistake.ADOPTED_EARLY, Mistake.SHORT_LOOK],
)
def test_searching_alike_as_one_hides_nothing(mistake: Mistake) -> None:
    setup = with_mistake(MISTAKES[mistake][1], mistake)
    one, alike = search(setup), search_alike(setup)
    assert (alike.fault, len(alike.trace)) == (one.fault, len(one.trace))
    assert alike.states < one.states


def test_writers_that_differ_are_not_searched_as_one() -> None:
    with pytest.raises(ValueError, match="name"):
        search_alike(Setup(((0,), (1,))))


@pytest.mark.parametrize("name", HARMLESS)
def test_nothing_is_lost_though(name: str) -> None:
    mistake, setup = HARMLESS[name]
    found = search_alike(with_mistake(setup, mistake))
    assert not found.fault, found
    record("model check", f"{name}, {setup.collectors} runs", AIM, str(found))
