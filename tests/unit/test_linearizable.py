"""The checker of tag histories tells good ones from bad ones."""

from __future__ import annotations

import functools
import itertools
import random

import pytest

from tests.faults.linearizable import Operation, Value, violation


def w(value: Value, called: float, ended: float | None) -> Operation:
    return Operation("write", value, called, ended)


def r(value: Value, called: float, ended: float) -> Operation:
    return Operation("read", value, called, ended)


HISTORIES = 50
SMALL_HISTORIES = 1000
GOOD = {
    "nothing": [],
    "absent at first": [r(None, 0, 1)],
    "read after write": [w("a", 0, 1), r("a", 2, 3)],
    "read of a write under way": [w("a", 0, 9), r("a", 1, 2), r("a", 3, 4)],
    "old, then new, during a write": [w("a", 0, 1), w("b", 2, 9), r("a", 3, 4), r("b", 5, 6)],
    "two writes at once, in either order": [w("a", 0, 5), w("b", 0, 5), r("a", 6, 7)],
    "an unknown write that is seen late": [w("a", 0, None), r(None, 1, 2), r("a", 8, 9)],
    "an unknown write that is never seen": [w("a", 0, None), r(None, 1, 2)],
    "an unknown delete that is seen late": [w("a", 0, 1), w(None, 2, None), r("a", 3, 4)]
    + [r(None, 5, 6)],
    "deleted and written again": [w("a", 0, 1), w(None, 2, 3), r(None, 4, 5), w("b", 6, 7)],
}
BAD = {
    "a lost write": [w("a", 0, 1), r(None, 2, 3)],
    "an old value": [w("a", 0, 1), w("b", 2, 3), r("a", 4, 5)],
    "new, then old, during a write": [w("a", 0, 1), w("b", 2, 9), r("b", 3, 4), r("a", 5, 6)],
    "a value from nowhere": [r("a", 0, 1)],
    "a value before its write": [r("a", 0, 1), w("a", 2, 3)],
    "an unknown write that flickers": [w("a", 0, 1), w("b", 2, None), r("b", 3, 4), r("a", 5, 6)],
    "an unknown delete that is used twice": [w("a", 0, 1), w(None, 2, None), r(None, 3, 4)]
    + [w("b", 5, 6), r(None, 7, 8)],
    "a delete that comes back": [w("a", 0, 1), w(None, 2, 3), r("a", 4, 5)],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_history_that_can_be_explained(name: str) -> None:
    assert violation(GOOD[name]) is None


@pytest.mark.parametrize("name", BAD)
def test_a_history_that_cannot(name: str) -> None:
    assert violation(BAD[name]) is not None


def test_histories_of_a_real_register_are_good_and_changed_ones_mostly_not() -> None:
    rng, caught = random.Random(1), 0
    for seed in range(HISTORIES):
        history = _simulated(random.Random(seed))
        assert violation(history) is None, history
        reads = [n for n, op in enumerate(history) if op.kind == "read" and op.value]
        if reads:
            number = rng.choice(reads)
            op = history[number]
            history[number] = Operation("read", "never written", op.called, op.ended)
            caught += violation(history) is not None
        else:
            caught += 1
    assert caught == HISTORIES


def test_small_histories_are_judged_as_by_trying_every_order() -> None:
    bad = 0
    for seed in range(SMALL_HISTORIES):
        history = _made_up(random.Random(seed))
        explained = _explained(history)
        assert (violation(history) is None) == explained, history
        bad += not explained
    assert SMALL_HISTORIES / 5 < bad < SMALL_HISTORIES / 2


def _made_up(rng: random.Random) -> list[Operation]:
    """A few operations with answers that may be right or not, some without an answer."""
    values: list[Value] = [None]
    history = []
    for number in range(rng.randint(2, 8)):
        called = rng.uniform(0, 4)
        ended = called + rng.uniform(0, 2)
        kind = rng.choice(["write", "write", "read", "read", "delete"])
        if kind == "read":
            history.append(r(rng.choice(values), called, ended))
            continue
        value = f"v{number}" if kind == "write" else None
        values.append(value)
        history.append(w(value, called, ended if rng.random() < 0.7 else None))
    return history


def _explained(history: list[Operation]) -> bool:
    """Whether some order explains all answers; by trying every one."""
    answered = frozenset(n for n, op in enumerate(history) if op.ended is not None)

    @functools.cache
    def go(left: frozenset[int], unknown: frozenset[int], value: Value) -> bool:
        if not left:
            return True
        latest = min(history[number].ended or 0 for number in left)
        for number in left | unknown:
            op = history[number]
            if op.called > latest or (op.kind == "read" and op.value != value):
                continue
            if go(left - {number}, unknown - {number}, op.value):
                return True
        return False

    return go(answered, frozenset(range(len(history))) - answered, None)


def _simulated(rng: random.Random) -> list[Operation]:
    """Six clients of a register whose effects come somewhere between call and answer."""
    names = itertools.count()
    planned = []
    for client in range(6):
        at = rng.random()
        for _ in range(8):
            called, effect, ended = sorted(at + rng.random() for _ in range(3))
            kind = rng.choice(["read", "write", "delete"])
            planned.append((effect, called, ended, kind, f"{client}-{next(names)}"))
            at = ended
    value: Value = None
    history = []
    for _, called, ended, kind, name in sorted(planned):
        if kind == "read":
            history.append(r(value, called, ended))
            continue
        value = name if kind == "write" else None
        history.append(w(value, called, ended if rng.random() < 0.9 else None))
    return history
