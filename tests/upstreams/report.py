"""What came out of one cell of the fault table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event

POLL_SECONDS = 0.5
Attempt = Callable[[], str]
"""Returns "" on success, else what went wrong."""


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

    def timed(self, attempt: Attempt, what: str, limit: float) -> str:
        """Make an attempt and note how long it takes; a problem if more than limit seconds."""
        begin = time.monotonic()
        failure = attempt()
        seconds = time.monotonic() - begin
        self.figures[what] = f"{seconds:.1f} s"
        self.check(seconds <= limit, f"{what} took {seconds:.1f} s, not {limit:.1f} s")
        return failure

    def together(self, attempts: Mapping[str, Attempt], how: str, limit: float) -> dict[str, str]:
        """Make attempts at the same time, each timed; return what they say by their names."""
        with ThreadPoolExecutor(len(attempts)) as pool:
            begun = {
                name: pool.submit(self.timed, attempt, f"{name} {how}", limit)
                for name, attempt in attempts.items()
            }
            return {name: attempt.result() for name, attempt in begun.items()}

    @property
    def summary(self) -> str:
        """The figures in one line."""
        return ", ".join(f"{name} {figure}" for name, figure in self.figures.items())


def patiently(attempt: Attempt, seconds: float) -> str:
    """Repeat what says "" on success; return "" or, when the time is over, the last failure."""
    deadline = time.monotonic() + seconds
    while (failure := attempt()) and time.monotonic() < deadline:
        Event().wait(POLL_SECONDS)
    return failure
