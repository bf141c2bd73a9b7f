"""The clock: the server needs none to serve what it holds; certificates do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from distserver.nodes.doctor.facts import Facts
from distserver.nodes.doctor.findings import STOP, WARN, Finding, ok

EPOCH_2020 = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
SLACK_SECONDS = 86400.0
MAX_FILES = 10_000
"""So many files of the state are looked at."""


def clock(facts: Facts) -> Iterator[Finding]:
    """Whether the time can be true: not before what has happened already."""
    shown = datetime.fromtimestamp(facts.now, UTC).strftime("%Y-%m-%d %H:%M UTC")
    wrong = _wrong(facts)
    if wrong is None:
        yield ok(f"the clock says {shown}")
        return
    why = "the server serves what it holds by any clock, but "
    why += (
        "TLS is used on this site, and no certificate holds"
        if facts.uses_tls
        else ("upstreams are refused, whose certificates do not hold")
    )
    mend = "date --set '…'; hwclock --systohc; look at the battery of the board"
    yield Finding(STOP if facts.uses_tls else WARN, f"the clock says {shown}: {wrong}", why, mend)


def _wrong(facts: Facts) -> str | None:
    if facts.now < EPOCH_2020:
        return "before 2020"
    if facts.now < facts.installed - SLACK_SECONDS:
        return "before distserver was installed"
    if facts.now < _newest(Path(facts.config.state)) - SLACK_SECONDS:
        return "behind the newest file of the server's state"
    return None


def _newest(directory: Path) -> float:
    """When a file of the state was last written; 0 if there is none."""
    found = (
        Path(top) / name
        for top, _, names in os.walk(directory, followlinks=False)
        for name in names
    )
    return max((_modified(path) for path in islice(found, MAX_FILES)), default=0.0)


def _modified(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:  # the server goes on beside us
        return 0.0
