"""How many clients of a process may wait for upstreams: each of them takes a thread.

Who wants what is held, or something of another upstream, has to find one, too.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack

from distserver.proxy.upstream.errors import UpstreamBusy


class Seats:
    """Places for clients that wait.

    count   of them
    within  who sits here takes a place there, too
    """

    def __init__(self, count: int, within: Seats | None = None) -> None:
        self._free, self._within = threading.BoundedSemaphore(count), within

    def take(self) -> ExitStack:
        """Take a seat; close what is returned to leave it. Raises: UpstreamBusy."""
        if not self._free.acquire(blocking=False):
            raise UpstreamBusy("as many clients as may be wait for upstreams already")
        left = ExitStack()
        left.callback(self._free.release)
        if self._within:
            try:
                left.enter_context(self._within.take())
            except UpstreamBusy:
                left.close()
                raise
        return left


def seats_of_process(threads: int) -> Seats:
    """Seats for all upstreams together: a quarter of the threads never waits for any."""
    return Seats(max(1, threads * 3 // 4))


def seats_of_upstream(threads: int, within: Seats) -> Seats:
    """Seats for one of them, so that a silent one leaves some to the others."""
    return Seats(max(1, threads * 5 // 8), within)
