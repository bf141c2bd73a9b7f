"""Whether a worker answers: what its heartbeat to the master stands on."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future


class Pulse:
    """Lets a request thread answer a question, again and again, and says whether that goes on.

    A worker whose threads are all busy with clients works too, as long as bytes move.

    answers          asks the application; called in a request thread
    patience_seconds how long nothing may be answered nor moved
    """

    def __init__(self, answers: Callable[[], bool], patience_seconds: float) -> None:
        self._answers = answers
        self._patience_seconds = patience_seconds
        self._moved_at = time.monotonic()
        self._asked: Future[bool] | None = None

    def moved(self) -> None:
        """Note that a client took or gave bytes. Called by any thread."""
        self._moved_at = time.monotonic()

    def beats(self, threads: Executor) -> bool:
        """Whether the worker answers, or is busy and bytes move. Asks the next question.

        Blocks on: nothing. Called by one thread.
        """
        if self._asked is None:
            self._asked = threads.submit(self._answers)
        if self._asked.done():
            if self._asked.exception() is None and self._asked.result():
                self.moved()
            self._asked = None
        return time.monotonic() - self._moved_at < self._patience_seconds
