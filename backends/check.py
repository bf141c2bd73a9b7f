"""The contract on an operator's own bucket or mount: what `distserver check-storage` runs.

Works below a prefix of its own and removes what it wrote. A failed check is a result, not an error.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

from backends.base import Backend, Moves, Revises
from backends.errors import NotFound, RangeInvalid, StorageError, Unavailable
from backends.helpers import put, read_all, restore, space_of

LARGE_BYTES = 3 * 1024 * 1024 + 1
_CONNECTIONS = 8
_DEADLINE_SECONDS = 60.0
_REVISION_SECONDS = 4.0
_POLL_SECONDS = 0.1
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One sentence of the contract, and whether this storage keeps it.

    message   what was seen, in words for the operator
    answered  whether the storage could be asked; if not, nothing is proved against it
    """

    name: str
    ok: bool
    message: str
    answered: bool = True


@runtime_checkable
class Examines(Protocol):
    """Capability: a storage made by others, which can examine what its kind may do wrong."""

    def examine(self) -> Iterator[CheckResult]:
        """Yield a result for each thing; leave nothing behind.

        After one that failed, and was answered, every verb raises Unavailable.
        """


class BrokenPromise(Exception):
    """The storage answered, but not as the contract says."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a check works on: two handles of one storage, and a prefix that nobody else uses."""

    backend: Backend
    other: Backend
    prefix: str


def check_storage(backend: Backend, other: Backend | None = None) -> Iterator[CheckResult]:
    """Yield one result after another, the last one of the cleaning up.

    Writes about 20 MB. For a storage without identity give unguarded(backend).

        other   a second handle of the same storage; None = the same one
    """
    trial = Trial(backend, other or backend, f"gc/check-{uuid.uuid4()}/")
    try:
        for name, check in CHECKS.items():
            yield run_check(name, partial(check, trial))
    finally:
        cleaned = run_check("clean up", partial(_clean, trial))
    yield cleaned
    if isinstance(backend, Examines):
        yield from backend.examine()


def run_check(name: str, check: Callable[[], str]) -> CheckResult:
    """Return what a check saw, or why it failed."""
    try:
        return CheckResult(name, True, check())
    except (StorageError, BrokenPromise, TimeoutError) as exc:
        answered = not isinstance(exc, Unavailable | TimeoutError)
        return CheckResult(name, False, f"{type(exc).__name__}: {exc}", answered)


def _demand(kept: bool, otherwise: str) -> None:
    if not kept:
        raise BrokenPromise(otherwise)


def _demand_absent(backend: Backend, key: str, when: str) -> None:
    try:
        backend.stat(key)
    except NotFound:
        return
    raise BrokenPromise(f"an entry is there {when}")


def _write_and_read(trial: Trial) -> str:
    for size in (0, 1, LARGE_BYTES):
        data = os.urandom(size)
        key = f"{trial.prefix}size-{size}"
        put(trial.backend, key, data)
        _demand(read_all(trial.backend, key, size) == data, f"{size} bytes came back changed")
        _demand(trial.backend.stat(key).size == size, f"stat of {size} bytes is wrong")
    return f"0, 1 and {LARGE_BYTES} bytes written durably and read back"


def _ranges(trial: Trial) -> str:
    key = f"{trial.prefix}range"
    put(trial.backend, key, b"0123456789")
    for start, stop in ((0, 0), (0, 1), (3, 7), (9, 10), (10, 10), (0, None)):
        with trial.backend.open(key, start, stop) as reader:
            _demand(reader.read() == b"0123456789"[start:stop], f"range {start}..{stop} is wrong")
    for start, stop in ((0, 11), (11, None), (7, 3), (-1, 5)):
        _demand_refused(trial.backend, key, start, stop)
    return "every edge right, one past it refused"


def _demand_refused(backend: Backend, key: str, start: int, stop: int | None) -> None:
    try:
        backend.open(key, start, stop).close()
    except RangeInvalid:
        return
    raise BrokenPromise(f"range {start}..{stop} of 10 bytes was accepted")


def _absent(trial: Trial) -> str:
    _demand_absent(trial.backend, f"{trial.prefix}absent", "that nobody wrote")
    _demand(not list(trial.backend.keys(f"{trial.prefix}absent/")), "keys under an absent prefix")
    return "what is not there is said to be not there"


def _late_naming(trial: Trial) -> str:
    key = f"{trial.prefix}late"
    with trial.backend.create() as writer:
        writer.write(b"half")
        _demand_absent(trial.other, key, "before its commit")
    _demand_absent(trial.other, key, "after an abort")
    return "nothing is seen before its commit"


def _replace(trial: Trial) -> str:
    key = f"{trial.prefix}replaced"
    put(trial.backend, key, b"old")
    with trial.backend.open(key) as reader:
        put(trial.backend, key, b"new, longer")
        _demand(reader.read() == b"old", "an open reader lost its bytes")
    _demand(read_all(trial.backend, key, 99) == b"new, longer", "the old bytes are still there")
    return "replaced whole, open readers keep the old bytes"


def _link(trial: Trial) -> str:
    source, target = f"{trial.prefix}source", f"{trial.prefix}target"
    put(trial.backend, source, b"bytes")
    put(trial.backend, target, b"older")
    for _ in range(2):
        trial.backend.link(source, target)
        _demand(read_all(trial.backend, target, 99) == b"bytes", "the link names other bytes")
    trial.backend.delete(source)
    _demand(read_all(trial.backend, target, 99) == b"bytes", "a link died with its source")
    return "links name the same bytes and outlive their source"


def _delete(trial: Trial) -> str:
    key = f"{trial.prefix}deleted"
    put(trial.backend, key, b"x")
    for _ in range(2):
        trial.backend.delete(key)
        _demand_absent(trial.other, key, "after its delete")
    return "absent after a delete, and again"


def _trash(trial: Trial) -> str:
    live, trash = f"{trial.prefix}live", f"{trial.prefix}trash"
    data = os.urandom(LARGE_BYTES)
    put(trial.backend, live, data)
    if isinstance(trial.backend, Moves):
        trial.backend.move(live, trash)
    else:
        trial.backend.link(live, trash)
        trial.backend.delete(live)
    _demand_absent(trial.other, live, "after it was moved away")
    restore(trial.backend, trash, live)
    trial.backend.delete(trash)
    _demand(read_all(trial.other, live, LARGE_BYTES) == data, "it came back changed")
    return "what is moved to the trash can be restored, and outlives that"


def _order(trial: Trial) -> str:
    names = ["a-b/x", "a.b", "a/x", "a/y", "a0", "b/0.1.2", "b/0.1.20"]
    prefix = f"{trial.prefix}order/"
    for name in reversed(names):
        put(trial.backend, prefix + name, b"")
    wanted = [prefix + name for name in names]
    _demand(list(trial.backend.keys(prefix)) == wanted, "keys are not in the order of their bytes")
    rest = list(trial.backend.keys(prefix, after=wanted[2]))
    _demand(rest == wanted[3:], "keys after a given one are wrong")
    return "keys come in order, from any point on"


def _two_handles(trial: Trial) -> str:
    for number in range(50):
        key = f"{trial.prefix}seen/{number:02}"
        put(trial.backend, key, b"x")
        _demand(trial.other.stat(key).size == 1, "a second handle does not see a write")
        listed = list(trial.other.keys(f"{trial.prefix}seen/"))
        _demand(len(listed) == number + 1, "a second handle does not list a write")
    return "50 writes seen at once through a second handle"


def _connections(trial: Trial) -> str:
    def work(number: int) -> bool:
        data = bytes([number]) * 100_000
        key = f"{trial.prefix}connection-{number}"
        put(trial.backend, key, data)
        put(trial.backend, f"{trial.prefix}common", data)
        return read_all(trial.other, key, len(data)) == data

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        right = list(pool.map(work, range(_CONNECTIONS), timeout=_DEADLINE_SECONDS))
    common = read_all(trial.other, f"{trial.prefix}common", 100_000)
    _demand(all(right) and len(set(common)) == 1, "entries are mixed up")
    return f"{_CONNECTIONS} at once, none mixed up"


def _case(trial: Trial) -> str:
    put(trial.backend, f"{trial.prefix}case/A", b"upper")
    put(trial.backend, f"{trial.prefix}case/a", b"lower")
    if read_all(trial.backend, f"{trial.prefix}case/A", 9) == b"upper":
        return "names that differ in case are different"
    return "names that differ in case are one: safe here, since our keys never differ so"


def _revision(trial: Trial) -> str:
    if not isinstance(trial.backend, Revises):
        return "not available: hot answers ask the storage"
    put(trial.backend, f"{trial.prefix}revision/x", b"")
    deadline = time.monotonic() + _REVISION_SECONDS
    while time.monotonic() < deadline:
        if trial.backend.revision(f"{trial.prefix}revision/") is not None:
            return "available: hot answers are validated by directory times"
        time.sleep(_POLL_SECONDS)
    return "not available on this file system: hot answers ask the storage"


def _space(trial: Trial) -> str:
    space = space_of(trial.backend)
    if space is None:
        return "not told by this storage"
    _demand(not space.full, "only the reserve is left: pushes are refused")
    return (
        f"{space.free_bytes / _GIB:.1f} GiB free, {space.usable_bytes / _GIB:.1f} above the reserve"
    )


def _clean(trial: Trial) -> str:
    count = 0
    for key in list(trial.backend.keys(trial.prefix)):
        trial.backend.delete(key)
        count += 1
    _demand(not list(trial.backend.keys(trial.prefix)), "deleted entries are still listed")
    return f"{count} entries removed"


CHECKS: dict[str, Callable[[Trial], str]] = {
    "write and read": _write_and_read,
    "ranges": _ranges,
    "absence": _absent,
    "late naming": _late_naming,
    "replace": _replace,
    "link": _link,
    "delete": _delete,
    "trash": _trash,
    "order": _order,
    "two handles": _two_handles,
    "several connections": _connections,
    "case of names": _case,
    "revisions": _revision,
    "space": _space,
}
"""What is checked, in this order; each returns what was seen or raises."""
