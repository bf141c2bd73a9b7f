"""What came out of one cell of the fault table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import TypeVar

POLL_SECONDS = 0.5
T = TypeVar("T")


@dataclass
class Report:
    """Figures, and all that was not as promised: a cell is good if there is nothing of that."""

    problems: list[str] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)

    def check(self, holds: bool, otherwise: str) -> bool:
        """Note a problem unless something holds; return whether it does."""
        if not holds:
            self.problems.append(otherwise)
        return holds

    @contextmanager
    def timed(self, what: str, limit: float) -> Iterator[None]:
        """Note how long the block takes; a problem if that is more than limit seconds."""
        begin = time.monotonic()
        yield
        seconds = time.monotonic() - begin
        self.figures[what] = f"{seconds:.1f} s"
        self.check(seconds <= limit, f"{what} took {seconds:.1f} s, not {limit:.1f} s")

    @property
    def summary(self) -> str:
        """The figures in one line."""
        return ", ".join(f"{name} {figure}" for name, figure in self.figures.items())


def patiently(attempt: Callable[[], str], seconds: float) -> str:
    """Repeat what says "" on success; return "" or, when the time is over, the last failure."""
    deadline = time.monotonic() + seconds
    while (failure := attempt()) and time.monotonic() < deadline:
        Event().wait(POLL_SECONDS)
    return failure
