"""A stand-in for `os` in the modules of backends: notes every kernel call and fails chosen ones."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest

MODULES = (
    *("filesystem", "files", "lookups", "temporaries", "durable"),
    *("walk", "room", "root", "witness"),
)
"""Those that the docstring of backends.filesystem names."""
KERNEL = frozenset(
    {
        *("open", "close", "read", "write", "lseek", "fsync", "fdatasync"),
        *("replace", "rename", "link", "unlink", "mkdir", "rmdir"),
        *("stat", "fstat", "fstatvfs", "scandir", "listdir"),
    }
)
ERRORS = (errno.EIO, errno.ENOSPC, errno.ESTALE, errno.EDQUOT, errno.EROFS)


class Call(NamedTuple):
    """One kernel call: its name, and the path or the two paths that it was about."""

    name: str
    path: str
    target: str = ""


class FakeOs:
    """Give calls through to the kernel, save what a test replaced or lets fail.

    root      paths of descriptors are told relative to it
    sync      False: fsync is noted but not done, which makes repeats fast
    instead   name of a call -> what to do in its place
    """

    def __init__(self, root: str = "/", sync: bool = True) -> None:
        self.root, self.sync = root, sync
        self.calls: list[Call] = []
        self.instead: dict[str, Callable[..., Any]] = {}
        self._verdict: Callable[[Call], int | None] = lambda call: None
        self._after = False

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return partial(self._call, name, real) if name in KERNEL else real

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeOs:
        """Stand in for `os` in every module that calls the kernel."""
        for module in MODULES:
            monkeypatch.setattr(f"backends.{module}.os", self)
        return self

    def reset(self) -> None:
        """Forget what was called, and let nothing fail."""
        self.calls.clear()
        self._verdict, self._after = (lambda call: None), False

    def fail_nth(self, number: int, code: int, after: bool = False) -> None:
        """Fail the call of that number (from 1); after: it takes effect all the same."""
        self.reset()
        self._verdict = lambda call: code if len(self.calls) == number else None
        self._after = after

    def die_at(self, number: int) -> None:
        """End this process just before the call of that number, as kill -9 does."""
        self.reset()
        self._verdict = lambda call: os._exit(9) if len(self.calls) == number else None

    def die_raising(self, number: int, error: type[BaseException]) -> None:
        """Raise what no one catches just before the call of that number."""
        self.reset()

        def verdict(call: Call) -> None:
            if len(self.calls) == number:
                raise error

        self._verdict = verdict

    def fail(self, name: str, code: int, times: int = 1, where: str = "") -> None:
        """Fail the next calls of that name whose path begins so."""
        self.reset()
        left = [code] * times

        def verdict(call: Call) -> int | None:
            return (
                left.pop() if left and call.name == name and call.path.startswith(where) else None
            )

        self._verdict = verdict

    def of(self, *names: str) -> list[Call]:
        """Return the calls of these names."""
        return [call for call in self.calls if call.name in names]

    def _call(self, name: str, real: Callable[..., Any], *args: Any, **options: Any) -> Any:
        call = Call(name, self._told(args[0]), self._told(args[1]) if name in _PAIRS else "")
        self.calls.append(call)
        code = self._verdict(call)
        if code is None or self._after or name == "close":  # a failed close closes all the same
            result = self._do(name, real, *args, **options)
        if code is None:
            return result
        if self._after and name == "open":
            os.close(result)
        if self._after and name == "scandir":
            result.close()
        raise OSError(code, os.strerror(code))

    def _do(self, name: str, real: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if name == "fsync" and not self.sync:
            return None
        return self.instead.get(name, real)(*args, **options)

    def _told(self, place: object) -> str:
        if not isinstance(place, int):
            return str(place)
        try:
            path = os.readlink(f"/proc/self/fd/{place}")
        except FileNotFoundError:
            return "closed"
        return os.path.relpath(path.removesuffix(" (deleted)"), self.root)


_PAIRS = frozenset({"replace", "rename", "link"})
