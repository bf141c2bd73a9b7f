"""Members of a replica set that fail as mounts do, and what a set of them holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from backends import Backend, Filesystem, ReplicaSet, initialise
from backends.base import Entry, Reader, Space, Writer
from backends.errors import Full, Unavailable

SLOW_SECONDS = 0.05
KINDS = ("refused", "hung", "slow", "read-only", "full")


@dataclass
class Fault:
    """What is wrong with a member just now: one of KINDS; "" = nothing.

    gate  set = nothing hangs
    """

    kind: str = ""
    gate: threading.Event = field(default_factory=threading.Event)

    def set(self, kind: str) -> None:
        self.kind = kind
        self.gate.clear() if kind == "hung" else self.gate.set()

    def hit(self, writing: bool = False) -> None:
        """Do what the fault does to a call."""
        if self.kind == "hung":
            self.gate.wait(60)
        if self.kind == "refused":
            raise Unavailable("connection refused")
        if self.kind == "slow":
            time.sleep(SLOW_SECONDS)
        if writing and self.kind == "read-only":
            raise Unavailable("Read-only file system")
        if writing and self.kind == "full":
            raise Full("No space left on device")


class Faulty:
    """A Backend around a Filesystem, with a fault before each call."""

    def __init__(self, inner: Filesystem, fault: Fault) -> None:
        self._inner, self._fault = inner, fault

    def stat(self, key: str) -> Entry:
        self._fault.hit()
        return self._inner.stat(key)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        self._fault.hit()
        return _FaultyReader(self._inner.open(key, start, stop), self._fault)

    def create(self) -> Writer:
        self._fault.hit(writing=True)
        return _FaultyWriter(self._inner.create(), self._fault)

    def link(self, source: str, target: str) -> None:
        self._fault.hit(writing=True)
        self._inner.link(source, target)

    def delete(self, key: str) -> None:
        self._fault.hit(writing=self._fault.kind != "full")
        self._inner.delete(key)

    def keys(self, prefix: str, after: str = "", settle: bool = False) -> Iterator[str]:
        self._fault.hit()
        return self._inner.keys(prefix, after)

    def space(self) -> Space:
        self._fault.hit()
        return Space(0, 0, 0) if self._fault.kind == "full" else self._inner.space()

    def sweep(self, max_age_seconds: float = 86400) -> int:
        self._fault.hit(writing=True)
        return self._inner.sweep(max_age_seconds)

    def unguarded(self) -> Backend:
        return Faulty(cast(Filesystem, self._inner.unguarded()), self._fault)

    def blank(self) -> bool:
        self._fault.hit()
        return self._inner.blank()


class _FaultyReader:
    def __init__(self, inner: Reader, fault: Fault) -> None:
        self.size, self._inner, self._fault = inner.size, inner, fault

    def read(self, n: int = -1) -> bytes:
        self._fault.hit()
        return self._inner.read(n)

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> _FaultyReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _FaultyWriter:
    def __init__(self, inner: Writer, fault: Fault) -> None:
        self._inner, self._fault = inner, fault

    def write(self, data: bytes | memoryview) -> None:
        self._fault.hit(writing=True)
        self._inner.write(data)

    def commit(self, key: str) -> None:
        self._fault.hit(writing=True)
        self._inner.commit(key)

    def abort(self) -> None:
        self._inner.abort()

    def __enter__(self) -> _FaultyWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()


class Site:
    """Directories that are the members of one set, each with a fault of its own."""

    def __init__(self, parent: Path, count: int = 3) -> None:
        self.roots = [parent / f"member-{number}" for number in range(count)]
        self.faults = {str(root): Fault() for root in self.roots}
        for root, fault in zip(self.roots, self.faults.values(), strict=True):
            root.mkdir(parents=True)
            fault.set("")
        self.id = initialise(self.open())

    def open(self, **options: Any) -> ReplicaSet:
        """A handle of the set, as another process has it."""
        return ReplicaSet({url: self.opener(url) for url in self.faults}, **options)

    def seen_from(self, *numbers: int) -> ReplicaSet:
        """A handle that reaches only these members, by a fault that only it has."""
        refused = Fault("refused")
        refused.gate.set()
        return ReplicaSet(
            {
                url: self.opener(url) if number in numbers else _opener(url, refused)
                for number, url in enumerate(self.faults)
            },
            expected_id=self.id,
        )

    def opener(self, url: str) -> Callable[[str | None], Backend]:
        return _opener(url, self.faults[url])

    def break_(self, number: int, kind: str) -> None:
        """Let a member fail from now on; "" mends it."""
        self.faults[str(self.roots[number])].set(kind)

    def mend(self) -> None:
        """Let nothing fail any more."""
        for fault in self.faults.values():
            fault.set("")

    def keys(self, number: int) -> set[str]:
        """What a member has for good."""
        found = Filesystem(self.roots[number]).keys("")
        return {key for key in found if not key.startswith(("_store/", "hints/", "trash/"))}

    @property
    def equal(self) -> bool:
        """Whether all members have the same."""
        return len({frozenset(self.keys(number)) for number in range(len(self.roots))}) == 1


def _opener(url: str, fault: Fault) -> Callable[[str | None], Backend]:
    return lambda expected_id: Faulty(
        Filesystem(url, expected_id=expected_id, reserve_bytes=0, reserve_inodes=0), fault
    )
