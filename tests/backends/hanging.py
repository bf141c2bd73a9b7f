"""A storage that hangs on command, as a mount does whose server is gone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from backends import Memory

WAIT_SECONDS = 10.0


class Hanging:
    """The verbs of a Memory, and of its readers and writers, each of which may hang.

    entered   counts the calls that hang, or hung
    """

    def __init__(self, inner: Any = None) -> None:
        self._inner = Memory() if inner is None else inner
        self._free = threading.Event()
        self._free.set()
        self.entered = threading.Semaphore(0)
        self.calls: list[str] = []
        for name in ("stat", "create", "link", "move", "delete", "keys", "open"):
            setattr(self, name, self._hangable(name))

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Let every call hang meanwhile."""
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()

    def _hangable(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            self.calls.append(name)
            if not self._free.is_set():
                self.entered.release()
                self._free.wait()
            result = getattr(self._inner, name)(*args)
            return HangingHandle(self, result) if name in ("open", "create") else result

        return call


class HangingHandle(Hanging):
    """A reader or writer of such a storage."""

    def __init__(self, storage: Hanging, inner: Any) -> None:
        self._inner, self._free = inner, storage._free
        self.entered, self.calls = storage.entered, storage.calls
        self.size = getattr(inner, "size", 0)
        for name in ("read", "write", "commit", "close", "abort"):
            setattr(self, name, self._hangable(name))
