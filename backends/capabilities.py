"""What some storages can do beyond the six verbs: each a protocol, asked for by isinstance.

Found in backends.base, too, with the rest of the contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from backends.base import Backend


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
class Moves(Protocol):
    """Capability: an entry gets another name in one step, as by rename(2)."""

    def move(self, source: str, target: str) -> None:
        """Name the entry target, and no more source; an existing target is replaced whole.

        Atomic: who looks for source and then for target finds one of them. Of several that move
        one source, one does so, and the others get NotFound.
        Raises: NotFound (source), Full, Unavailable, InvalidKey; after Unavailable it may have
        been done.
        """


@runtime_checkable
class Copies(Protocol):
    """Capability: links share what erasing or a sweep frees, but there are copies as well."""

    def copy(self, source: str, target: str) -> None:
        """Give target bytes of its own, those of source; they live on whatever becomes of source.

        Else as Backend.link, also where source and target are named at once by others.
        Raises: NotFound (source), Full, Unavailable, Corrupt (source), InvalidKey.
        """


@runtime_checkable
class Erases(Protocol):
    """Capability: deleted bytes stay for a while, but can be made to go at once."""

    def erase(self, key: str) -> None:
        """Make the key absent, and its bytes too unless another key names them by a link.

        So bytes that several keys name go with the last one. A reader of them may end in Corrupt;
        so may a key that is being linked to them meanwhile. Looks through the whole storage: for
        single secrets, not for garbage, which delete and a later sweep take.
        Raises: Unavailable, InvalidKey; then the key, or bytes that nothing names, may be there.
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
