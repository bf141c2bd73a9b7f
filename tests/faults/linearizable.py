"""Whether what clients saw of one tag could have happened one operation after the other.

A register is read and written; a value is written once, but for None, which deletes write. An
operation takes effect at one moment between its call and its answer. One whose answer never came
may take effect at any later moment, or never.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Value = str | None
Configuration = tuple[Value, frozenset[int], int]
"""The value, operations under way that have had their effect, unknown deletes that were used."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One request and its answer.

    kind    "read" or "write"
    value   what was read or written; None = absent
    called  when, in seconds
    ended   when its answer came; None = never
    """

    kind: str
    value: Value
    called: float
    ended: float | None


def violation(history: Iterable[Operation]) -> Operation | None:
    """Return the first operation whose answer cannot be explained; None if all can."""
    operations = _relevant(list(history))
    events = [(op.called, 0, number) for number, op in enumerate(operations)]
    events += [(op.ended, 1, n) for n, op in enumerate(operations) if op.ended is not None]
    search = _Search(operations)
    for _, ends, number in sorted(events):
        if not ends:
            search.call(number)
        elif not search.end(number):
            return operations[number]
    return None


def _relevant(history: list[Operation]) -> list[Operation]:
    """Leave out what nobody saw: reads without an answer, values of unknown writes never read."""
    seen = {op.value for op in history if op.kind == "read" and op.ended is not None}
    return [
        op
        for op in history
        if op.ended is not None or (op.kind == "write" and (op.value is None or op.value in seen))
    ]


class _Search:
    """All states that the register may be in by now."""

    def __init__(self, operations: list[Operation]) -> None:
        self._operations = operations
        self._open: set[int] = set()
        self._deletes = 0
        self._now: set[Configuration] = {(None, frozenset(), 0)}

    def call(self, number: int) -> None:
        op = self._operations[number]
        if op.ended is None and op.value is None:
            self._deletes += 1  # they are all alike, so that their number is enough
        else:
            self._open.add(number)

    def end(self, number: int) -> bool:
        """Whether some state explains the answer."""
        reached = self._reachable()
        self._open.discard(number)
        self._now = _cheapest(
            (value, done - {number}, used) for value, done, used in reached if number in done
        )
        return bool(self._now)

    def _reachable(self) -> set[Configuration]:
        found = {self._read(each) for each in self._now}
        todo = list(found)
        while todo:
            for after in map(self._read, self._next(todo.pop())):
                if after not in found:
                    found.add(after)
                    todo.append(after)
        return found

    def _next(self, now: Configuration) -> Iterable[Configuration]:
        _, done, used = now
        waiting = [(number, self._operations[number]) for number in self._open - done]
        for number, op in waiting:
            if op.kind == "write":
                yield op.value, done | {number}, used
        # A delete of unknown outcome is needed by nobody but a read of its absence.
        if used < self._deletes and any(
            op.kind == "read" and op.value is None for _, op in waiting
        ):
            yield None, done, used + 1

    def _read(self, now: Configuration) -> Configuration:
        """Let all reads under way happen that may: they change nothing."""
        value, done, used = now
        reads = {
            number
            for number in self._open - done
            if self._operations[number].kind == "read" and self._operations[number].value == value
        }
        return value, done | reads, used


def _cheapest(configurations: Iterable[Configuration]) -> set[Configuration]:
    """Of states that differ only in the unknown deletes that they used, keep that with fewest."""
    fewest: dict[tuple[Value, frozenset[int]], int] = {}
    for value, done, used in configurations:
        fewest[value, done] = min(used, fewest.get((value, done), used))
    return {(value, done, used) for (value, done), used in fewest.items()}
