"""Every row of the protocol's checklist is named by a test here: a missing row fails."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


def _rows(prefix: str, last: int, *without: int) -> tuple[str, ...]:
    return tuple(f"{prefix}-{n:02}" for n in range(1, last + 1) if n not in without)


ROWS = (
    *_rows("G", 19, 14),  # G-14: redirects are the client's business, we send none
    *_rows("MP", 10),
    *_rows("BP", 12),
    *_rows("BU", 28),
    *_rows("MU", 16),
    *_rows("TL", 7),
    *_rows("RF", 8),
    *_rows("DL", 5),
    *("EX-01", "EX-02", "AU-04", "AU-05", "AU-08"),
    *_rows("PY", 11, 1, 7, 8),  # PY-01, 07, 08 are settings of gunicorn that others build on
)


def _named() -> set[str]:
    """Rows in names of test functions and in ids of their parameters."""
    found: set[str] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        if path.name != Path(__file__).name:
            text = path.read_text()
            names = re.findall(r"def (test_\w+)", text) + re.findall(
                r'"([A-Z]+-\d\d\b[^"]*)"', text
            )
            for name in names:
                found |= {
                    f"{a}-{n}"
                    for a, n in re.findall(r"(?<![A-Za-z])([A-Z]+)[-_](\d\d)(?!\d)", name)
                }
    return found


@pytest.mark.parametrize("row", ROWS)
def test_each_row_has_a_test(row: str) -> None:
    """By its id."""
    assert row in _named()
