"""The fault table: each way an upstream fails × how much of the image we have × real clients."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.counts import count
from tests.figures import record
from tests.upstreams.cells import Cell, hold, measure_held, pull_held
from tests.upstreams.cold import pull_cold
from tests.upstreams.faults import FAULTS, Fault
from tests.upstreams.half import pull_half
from tests.upstreams.world import World, world

pytestmark = [pytest.mark.fault, pytest.mark.client]
AT_ONCE = 24
REGISTRY = ("docker-registry", "registry")[count(0, 1)]
"""What stands behind the faults: an old one in every run, distribution v3 for acceptance."""
AIMS = {
    "held": "always pulls; first answer ≤ 2.5 s; p99 ≤ 50 ms once the breaker is open",
    "cold": "a clean error in time; the next host is used; nothing wrong is kept",
    "half": "closed by FIN in ≤ 35 s; the next host is used; completed with ≤ 1.1 × the layer",
}
Key = tuple[str, str]
Cells = Mapping[Key, Cell]


@pytest.fixture(scope="module")
def cells(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cells]:
    """The cells that this run asks for, done."""
    keys = [key for item in request.session.items if (key := _key(item))]
    faults = [fault for fault in FAULTS if any(name == fault.name for name, _ in keys)]
    directory = tmp_path_factory.mktemp("table")
    try:
        with world(directory, faults, REGISTRY) as made:
            yield _done(made, faults, keys)
    finally:
        for bulky in ("upstream", "c", "skopeo", "ours/storage", "ours/state"):
            shutil.rmtree(directory / bulky, ignore_errors=True)


@pytest.mark.parametrize("state", AIMS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_cell(cells: Cells, fault: Fault, state: str) -> None:
    report = cells[fault.name, state].report
    record("R-10", f"{fault.name} × {state}", AIMS[state], report.summary)
    if report.problems:
        pytest.fail("\n".join(report.problems), pytrace=False)


def _key(item: pytest.Item) -> Key | None:
    given = getattr(getattr(item, "callspec", None), "params", {})
    return (given["fault"].name, given["state"]) if "state" in given else None


def _done(made: World, faults: Sequence[Fault], keys: Sequence[Key]) -> Cells:
    by_name = {fault.name: fault for fault in faults}
    cells = {key: Cell(made, by_name[key[0]], made.sites[key]) for key in keys}
    held = [cell for (_, state), cell in cells.items() if state == "held"]
    for step in (hold, pull_held):
        _all(AT_ONCE, [(step, cell) for cell in held])
    _all(1, [(measure_held, cell) for cell in held])
    rest = {"cold": pull_cold, "half": pull_half}
    _all(AT_ONCE, [(rest[state], cell) for (_, state), cell in cells.items() if state in rest])
    return cells


def _all(at_once: int, work: list[tuple[Callable[[Cell], None], Cell]]) -> None:
    with ThreadPoolExecutor(at_once) as pool:
        for step, cell in work:
            pool.submit(_guarded, step, cell)


def _guarded(step: Callable[[Cell], None], cell: Cell) -> None:
    try:
        step(cell)
    except Exception:
        cell.report.problems.append(traceback.format_exc())
