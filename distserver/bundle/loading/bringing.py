"""Bytes of archives into the storage: proved by their digest, and not written when held already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from backends import space_of
from distserver.bundle.errors import BundleError
from distserver.oci.digests import Digest
from distserver.registry import Registry


@dataclass
class Tally:
    """Bytes of content that an archive has.

    total    all that has to be looked at
    written  new ones
    held     those that were here before
    tick     called now and then, to show how far it is
    """

    total: int = 0
    written: int = 0
    held: int = 0
    tick: Callable[[], None] = lambda: None

    def passing(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Pass bytes on, counted as written."""
        for data in pieces:
            self.written += len(data)
            self.tick()
            yield data


class Bringer:
    """Puts content under its digest. No repository shows it before an image names it."""

    def __init__(self, registry: Registry, tally: Tally) -> None:
        self._content, self._backend, self.tally = registry.content, registry.backend, tally

    def require_room(self, wanted: Mapping[Digest, int]) -> None:
        """Refuse what cannot all be written, before a byte is. Raises: BundleError, Unavailable."""
        self.tally.total += sum(wanted.values())
        missing = sum(size for digest, size in wanted.items() if not self.holds(digest, size))
        space = space_of(self._backend)
        if space and missing > space.usable_bytes:
            raise BundleError(
                f"{_mib(missing)} of it are missing here,"
                f" and there is room for {_mib(space.usable_bytes)}"
            )

    def holds(self, digest: Digest, size: int) -> bool:
        """Whether it need not be written: it is here, or may not be. Raises: Unavailable."""
        return self._content.denied.has(digest) or self._content.holds(digest, size)

    def bring(self, digest: Digest, size: int, pieces: Iterable[bytes]) -> None:
        """Store content that has a digest, unless it is held.

        Raises: DigestInvalid (nothing is stored), what the pieces raise, Full, Unavailable.
        """
        if self.holds(digest, size):
            self.tally.held += size
            self.tally.tick()
        else:
            self._content.put(digest, self.tally.passing(pieces))

    def add(self, pieces: Iterable[bytes]) -> Digest:
        """Store content and return its digest. Raises: as bring."""
        return self._content.add(self.tally.passing(pieces))


def _mib(count: int) -> str:
    return f"{-(-count >> 20)} MiB"
