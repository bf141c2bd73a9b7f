"""What one member has yet to take of an entry that is being written."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from backends.base import Backend, Writer
from backends.errors import StorageError, Unavailable
from backends.replica.member import Member

BATCH_BYTES = 1 << 20
QUEUE_BYTES = 64 << 20
"""A member that is further behind than this is left out of the entry."""


class Track:
    """Feeds a Writer of one member from the member's threads, one step after another.

    changed  notified after each step; its lock guards what is here
    pending  bytes that were added and not taken yet
    state    "open", "committed" or "failed"
    """

    def __init__(self, member: Member, changed: threading.Condition) -> None:
        self.member, self.pending, self.state = member, 0, "open"
        self.begun = False
        self.error: StorageError | None = None
        self._changed = changed
        self._pieces: deque[bytes] = deque()
        self._key: str | None = None
        self._writer: Writer | None = None
        self._running = False
        self._missed: Callable[[], None] | None = None
        self._go_on()

    def add(self, data: bytes) -> None:
        """Take the next bytes; a member that is too far behind fails. With the lock."""
        if self.state != "open":
            return
        if self.pending > QUEUE_BYTES:
            self._fail(Unavailable(f"{self.member.name} is too slow for this entry"))
            return
        self._pieces.append(data)
        self.pending += len(data)
        self._go_on()

    def commit(self, key: str) -> None:
        """Give the entry its name once all bytes are taken. With the lock."""
        self._key = key
        self._go_on()

    def abort(self) -> None:
        """Forget the bytes; what is running ends by itself. With the lock."""
        if self.state == "open":
            self._fail(Unavailable("given up"))

    def leave(self, missed: Callable[[], None]) -> None:
        """Let it end by itself, if that is little work; told if it fails. With the lock."""
        if self.state == "open" and self.pending > BATCH_BYTES:
            self._fail(Unavailable(f"{self.member.name} is too slow for this entry"))
        if self.state == "failed":
            missed()
        else:
            self._missed = missed

    @property
    def busy(self) -> bool:
        """Whether a thread of the member is still at it."""
        return self._running

    def _fail(self, error: StorageError) -> None:
        self.state, self.error = "failed", error
        self._pieces.clear()
        self.pending = 0
        self._go_on()

    def _go_on(self) -> None:
        """Let the member do the next step, unless it is at one or there is none."""
        if self._running or not self._has_step():
            return
        self._running = True
        self.member.tell(self._step).add_done_callback(lambda done: self._stepped(done.exception()))

    def _has_step(self) -> bool:
        if self.state == "failed":
            return self._writer is not None
        return self.state == "open" and bool(not self.begun or self._pieces or self._key)

    def _stepped(self, error: BaseException | None) -> None:
        with self._changed:
            self._running = False
            if error is not None:
                self._failed(error)
            self._changed.notify_all()
            self._go_on()

    def _failed(self, error: BaseException) -> None:
        if self.state == "failed":
            self._writer = None  # it could not be aborted: a sweep finds what is left
        elif self.state == "open":
            self._fail(error if isinstance(error, StorageError) else Unavailable(repr(error)))
            if self._missed:
                self._missed()

    def _step(self, backend: Backend) -> None:
        with self._changed:
            step = self._next(backend)
        step()

    def _next(self, backend: Backend) -> Callable[[], None]:
        writer = self._writer
        if self.state == "failed":
            self._writer = None
            return writer.abort if writer else lambda: None
        if writer is None:
            return lambda: self._begin(backend)
        if self._pieces:
            return lambda: self._write(writer)
        key = self._key or ""
        return lambda: self._commit(writer, key)

    def _begin(self, backend: Backend) -> None:
        writer = backend.create()
        with self._changed:
            self._writer, self.begun = writer, True

    def _write(self, writer: Writer) -> None:
        taken = 0
        while taken < BATCH_BYTES:
            with self._changed:
                if not self._pieces:
                    return
                data = self._pieces.popleft()
            writer.write(data)
            taken += len(data)
            with self._changed:
                self.pending = max(0, self.pending - len(data))

    def _commit(self, writer: Writer, key: str) -> None:
        writer.commit(key)
        with self._changed:
            self._writer = None
            if self.state == "open":
                self.state = "committed"
