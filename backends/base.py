"""The storage contract: six verbs over a map from keys to byte strings, never changed once visible.

Sizes and offsets are bytes. What every caller may trust, on every backend:

Atomic       readers see all of an entry or none of it.
Durable      when a verb that changes something returns, that survives loss of power.
Read after   later calls, from any process or host, agree with an earlier one, unless the class
write        states a bound.
Errors       only the classes of backends.errors leave a backend. NotFound means that the storage
             said so; whatever hinders asking is Unavailable.
Deadlines    no call blocks for ever.
Shared use   safe in threads and after fork; nothing is opened at import.

No key is ever a parent of another key (`a` and `a/b` never both exist); the key layout keeps that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self

from backends.capabilities import (
    Adopts,
    Copies,
    Erases,
    Forms,
    Guarded,
    HasSpace,
    KnowsPlace,
    LocalPath,
    Moves,
    Proves,
    Redirects,
    Revises,
    Settles,
    Space,
    Standing,
    Sweeps,
    Tends,
    Watched,
)

__all__ = [
    "Adopts",
    "Backend",
    "Copies",
    "Entry",
    "Erases",
    "Forms",
    "Guarded",
    "HasSpace",
    "KnowsPlace",
    "LocalPath",
    "Moves",
    "Proves",
    "Reader",
    "Redirects",
    "Revises",
    "Settles",
    "Space",
    "Standing",
    "Sweeps",
    "Tends",
    "Watched",
    "Writer",
]


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a stored entry without reading it.

    size      bytes
    modified  seconds since the epoch by the storage's own clock
    """

    size: int
    modified: float


class Reader(Protocol):
    """An open entry. Readers stay valid when the entry is replaced or deleted.

    A reader over a local file also has fileno(), positioned at its start, for sendfile.
    """

    size: int
    """Size of the whole entry in bytes, whatever the range."""

    def read(self, n: int = -1) -> bytes:
        """Return up to n bytes (n < 0: all that remain); b"" only at the end of the range.

        Raises: Unavailable; Corrupt when the entry ends before its size.
        """

    def close(self) -> None:
        """Free what the reader holds; may be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class Writer(Protocol):
    """Bytes on their way to a name that is chosen last. Leaving `with` aborts unless committed."""

    def write(self, data: bytes | memoryview) -> None:
        """Append data; keeps no reference to it. Raises: Full, Unavailable."""

    def commit(self, key: str) -> None:
        """Give the bytes their name, replacing an older entry whole; durable on return.

        Raises: Full, Unavailable, InvalidKey; then nothing became visible, with one exception:
        after Unavailable the entry may or may not be there, whole (a reply can be lost).
        """

    def abort(self) -> None:
        """Forget the bytes; may be called twice, and after commit (then it does nothing)."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class Backend(Protocol):
    """A storage. Six verbs; what else a backend can do is a capability (backends.capabilities)."""

    def stat(self, key: str) -> Entry:
        """Return size and time of an entry. Raises: NotFound, Unavailable, InvalidKey."""

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        """Open the half-open range [start, stop) of an entry.

        The first round trip happens before the return, so no error comes after headers were sent.

            start  bytes, 0 <= start <= size
            stop   bytes, exclusive, start <= stop <= size; None = to the end
        Raises: NotFound, RangeInvalid, Unavailable, InvalidKey.
        """

    def create(self) -> Writer:
        """Begin an entry whose key is not known yet. Raises: Full, Unavailable."""

    def link(self, source: str, target: str) -> None:
        """Make target name the same bytes as source; without a copy where the storage can.

        An existing target is replaced whole. The two then live independent lives.
        Raises: NotFound (source), Full, Unavailable, InvalidKey.
        """

    def delete(self, key: str) -> None:
        """Make the key absent; absent before is success. It only collects garbage.

        Raises: Unavailable, InvalidKey.
        """

    def keys(self, prefix: str, after: str = "", settle: bool = False) -> Iterator[str]:
        """Yield every key with the prefix, lazily, ascending by the bytes of the whole key.

            prefix  "" or a text that ends in "/"
            after   exclusive lower bound, any text; ignored if smaller than the prefix
            settle  each key is on a write quorum before it is yielded (replica sets only)
        Keys that come or go during the iteration may or may not be seen. Raises: Unavailable.
        """
