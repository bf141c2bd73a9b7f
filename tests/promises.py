"""Render docs/promises.md from the figures that tests recorded: a command."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from tests.figures import DIRECTORY

PAGE = Path(__file__).parent.parent / "docs" / "promises.md"
COLUMNS = ("promise", "experiment", "aim", "figure", "commit")
HEADER = """\
# Promises and what was measured

This page is made by `make promises` from figures that the tests record as they run; do not
edit it. Each row is one experiment: what was done, what was wanted, what came out, and the
commit it ran on. A promise that no test has measured is not here.
`make acceptance` runs every experiment at its full count and makes the page anew.

| promise | experiment | aim | figure | commit |
|---|---|---|---|---|
"""


def main() -> int:
    """Write the page; end with 1, leaving the page as it is, if no figure was recorded."""
    rows = [json.loads(path.read_text()) for path in DIRECTORY.glob("*.json")]
    if not rows:
        print("no figures: run the tests first (`make test`, or `make acceptance` for all)")
        return 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render(rows))
    print(f"docs/promises.md: {len(rows)} figures")
    return 0


def render(rows: list[dict[str, str]]) -> str:
    """Return the page: promises with an id first, by number; then the others by name."""
    lines = [
        "| " + " | ".join(_cell(row[column]) for column in COLUMNS) + " |"
        for row in sorted(rows, key=_order)
        if row["figure"]
    ]
    return HEADER + "".join(line + "\n" for line in lines)


def _order(row: dict[str, str]) -> tuple[bool, int, str, str]:
    number = re.fullmatch(r"R-(\d+)", row["promise"])
    return (not number, int(number[1]) if number else 0, row["promise"], row["experiment"])


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


if __name__ == "__main__":
    sys.exit(main())
