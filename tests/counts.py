"""How often the long tests repeat: reduced in every run, full for acceptance."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import cycle, product
from typing import TypeVar

T = TypeVar("T")
FULL = os.environ.get("TEST_COUNTS") == "full"


def count(reduced: T, full: T) -> T:
    """Return full when TEST_COUNTS is "full", else reduced."""
    return full if FULL else reduced


def crossed(rows: Iterable[str], columns: Iterable[str]) -> list[tuple[str, str]]:
    """Return all pairs at full counts, else a diagonal: each row and each column is in one."""
    rows, columns = list(rows), list(columns)
    if FULL:
        return list(product(rows, columns))
    pairs = zip(cycle(rows), cycle(columns), strict=False)
    return [pair for pair, _ in zip(pairs, range(max(len(rows), len(columns))), strict=False)]
