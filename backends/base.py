"""The storage contract: six verbs over a map from keys to byte strings, never changed once visible.

Sizes and offsets are bytes. What every caller may trust, on every backend:

Atomic       readers see all of an entry or none of it.
Durable      when commit, link or delete returns, it survives loss of power.
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
from typing import Protocol, Self, runtime_checkable


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
    """A storage. Six verbs; what else a backend can do is a capability below."""

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


@dataclass(frozen=True, slots=True)
class Space:
    """Room in a storage: free bytes and inodes above the reserve (0 = pushes must be refused)."""

    free_bytes: int
    usable_bytes: int
    usable_inodes: int

    @property
    def full(self) -> bool:
        """Whether the reserve is reached."""
        return self.usable_bytes <= 0 or self.usable_inodes <= 0


@runtime_checkable
class Adopts(Protocol):
    """Capability: take over a finished local file."""

    def adopt(self, path: str, key: str) -> None:
        """Name the file at path (same file system; it is gone from there afterwards) as key.

        Raises: NotFound (path), Full, Unavailable (also: other file system), InvalidKey.
        """


@runtime_checkable
class Revises(Protocol):
    """Capability: a cheap token that changes whenever the keys directly in a directory change."""

    def revision(self, prefix: str) -> tuple[int, ...] | None:
        """Return a token for the keys directly under prefix, or None if there is none to trust.

        Equal tokens = the same keys with the same bytes. Take the token before listing. None for a
        missing directory, one changed within the last 2 s, and one with a time in the future.
        Raises: Unavailable, InvalidKey.
        """


@runtime_checkable
class LocalPath(Protocol):
    """Capability: entries are local files."""

    def local_path(self, key: str) -> str:
        """Return the path of the entry's file, for reading only.

        Raises: NotFound, Unavailable, InvalidKey.
        """


@runtime_checkable
class KnowsPlace(Protocol):
    """Capability: entries may lie on a disk of this machine, which is asked without a guard."""

    def is_local(self) -> bool:
        """Whether they do, as far as is known now. Asks nobody, so it never blocks."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a part of a storage stands.

    part   its path or URL
    up     whether it is asked at all
    state  up, suspect, down or recovering (backends.guard); unused: a set does not count on it
    words  what hindered the last probe, or why it is not used, for people; "" = nothing
    """

    part: str
    up: bool
    state: str
    words: str


@runtime_checkable
class Watched(Protocol):
    """Capability: somebody finds out, beside all calls, whether the storage answers."""

    def watch(self) -> None:
        """Begin, in this process; call it after the fork. It ends with the process."""

    def unwatch(self) -> None:
        """End it sooner."""

    def standings(self) -> list[Standing]:
        """Return how each part stands. Never blocks."""


@runtime_checkable
class HasSpace(Protocol):
    """Capability: the storage can know how much room it has."""

    def space(self) -> Space | None:
        """Return the room left, from a measurement at most a second old; None = nobody knows.

        Raises: Unavailable.
        """


@runtime_checkable
class Sweeps(Protocol):
    """Capability: left-overs of dead writers can be removed."""

    def sweep(self, max_age_seconds: float = 86400) -> int:
        """Remove temporaries not written to for max_age_seconds; return how many.

        Raises: Unavailable.
        """


@runtime_checkable
class Redirects(Protocol):
    """Capability: clients may fetch an entry's bytes from the storage itself."""

    def redirect_url(self, key: str, seconds: int) -> str | None:
        """Return a URL that gives the entry's bytes to whoever has it, for so long.

        None if that is not set up, or not worth it for this entry.
        Raises: NotFound, Unavailable, InvalidKey.
        """


@runtime_checkable
class Proves(Protocol):
    """Capability: of an entry named by its digest, only proved bytes are returned, else Corrupt."""

    def scrub(self, key: str) -> int:
        """Read every copy of an entry; replace damaged and missing ones from good ones.

        Returns: how many were damaged. Raises: Unavailable.
        """


@runtime_checkable
class Settles(Protocol):
    """Capability: an entry can be there without having been acknowledged: seen, but not safe."""

    def settle(self, key: str) -> None:
        """Make an entry that is there as safe as if it had been written now.

        Raises: NotFound, Unavailable, Full, Corrupt.
        """


@runtime_checkable
class Tends(Protocol):
    """Capability: there is work to do in the background."""

    def tend(self) -> None:
        """Do some of it, for about a second. Called every few seconds. Raises: StorageError."""


@runtime_checkable
class Forms(Protocol):
    """Capability: a storage made of storages gives itself and them their identities."""

    def form(self) -> str:
        """Return its id; give it one first if it has none. Raises: Unavailable, Full."""


@runtime_checkable
class Guarded(Protocol):
    """Capability: a storage that can be mistaken for another asks for its identity at every verb.

    Without one each verb raises Unavailable (backends.identity says how an identity is given).
    """

    def unguarded(self) -> Backend:
        """Return a backend over the same place that does not ask: for initialising and checking."""

    def blank(self) -> bool:
        """Whether nothing at all is stored there, not even by others. Raises: Unavailable."""
