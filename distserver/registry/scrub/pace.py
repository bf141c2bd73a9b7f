"""How fast the scrub reads: steadily, so slowly that nobody notices, and yet in time."""

from __future__ import annotations

import threading
import time

from distserver.registry.scrub.progress import DAY_SECONDS

FLOOR_BYTES_PER_SECOND = 4 << 20
"""10 TB in 30 days."""
MARGIN = 1.25
"""What a storage may grow, and a server be switched off, in a pass that still ends in time."""


class Stopped(Exception):
    """The process ends: what was begun goes on in another one."""


def rate(last_bytes: int, days: int) -> float:
    """Return the bytes a second at which as many as the last pass read are read within days."""
    if not days:
        return FLOOR_BYTES_PER_SECOND
    return max(FLOOR_BYTES_PER_SECOND, MARGIN * last_bytes / (days * DAY_SECONDS))


class Pace:
    """Sleeps after each piece for as long as it may take; time that was lost is not made up for.

    stopped  ends every sleep
    """

    def __init__(self, bytes_per_second: float, stopped: threading.Event) -> None:
        self._rate, self._stopped = bytes_per_second, stopped
        self._due = 0.0

    def passing(self, count: int) -> None:
        """Take note of bytes that were read. Raises: Stopped."""
        now = time.monotonic()
        self._due = max(now, self._due + count / self._rate)
        if self._stopped.wait(self._due - now):
            raise Stopped
