"""Content with copies on this node's own disk: a warm blob leaves by sendfile, storage or not."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from functools import partial

from backends import Backend
from backends.base import KnowsPlace, Reader
from backends.errors import Corrupt, StorageError
from distserver.oci.digests import Digest
from distserver.registry import verified
from distserver.registry.content import READ_BYTES, Alarm, Content
from distserver.registry.denied import DenyList
from distserver.registry.hot.filling import Filling
from distserver.registry.hot.tier import Tier
from distserver.registry.verified import WholeVerifier

log = logging.getLogger(__name__)


class HotContent(Content):
    """Reads copies first, and makes them of what passes through.

    Only bytes come from here. Whether content exists, who may read it and whether the storage's
    copy is good, the storage is asked: a push never counts on a copy. Where the storage lies on a
    local disk there are none.
    """

    def __init__(
        self, backend: Backend, alarm: Alarm, tier: Tier, denied: DenyList | None = None
    ) -> None:
        super().__init__(backend, alarm, denied)
        self._tier = tier

    def open(self, digest: Digest, start: int = 0, stop: int | None = None) -> Reader:
        """See Content.open. A copy is proved once by each process; a wrong one is dropped."""
        try:
            held = self.open_copy(digest, start, stop)
        except Corrupt:
            held = None
        return super().open(digest, start, stop) if held is None else held

    def open_copy(self, digest: Digest, start: int = 0, stop: int | None = None) -> Reader | None:
        """Open a copy; None = there is none. Raises: RangeInvalid, Corrupt (it is dropped then)."""
        self.denied.require(digest)
        reader = self._tier.open(digest, start, stop)
        if reader is None or self._is_proved(reader):
            return reader
        if start == 0 and stop in (None, reader.size):
            proved = partial(self._remember, reader)
            make = lambda: WholeVerifier(reader, digest, proved, self._drop)  # noqa: E731
            return verified.closing_on_error(reader, make)
        return verified.closing_on_error(reader, lambda: self._proving(digest, reader))

    def read(self, digest: Digest, limit: int) -> bytes:
        """See Content.read."""
        if (data := self.read_copy(digest, limit)) is not None:
            return data
        data = super().read(digest, limit)
        if self.is_distant() and (filling := self._tier.filling(digest, len(data))):
            filling.write(data)
            filling.keep()
        return data

    def read_copy(self, digest: Digest, limit: int) -> bytes | None:
        """Return all bytes of a copy that proved right; None = there is none."""
        self.denied.require(digest)
        reader = self._tier.open(digest)
        if reader is None:
            return None
        with reader:
            data = reader.read() if reader.size <= limit else b""
        if Digest.of(data, digest.algorithm) == digest:
            return data
        self._drop(digest)
        return None

    def put(self, digest: Digest, body: Iterable[bytes]) -> int:
        """See Content.put."""
        self.denied.require(digest)
        filling = self._tier.filling(digest, 0) if self.is_distant() else None
        if filling is None:
            return super().put(digest, body)
        try:
            size = super().put(digest, _passing(body, filling))
            self._keep(digest, filling)
            return size
        finally:
            filling.close()

    def take(self, path: str, digest: Digest, chunks: bytes) -> None:
        """See Content.take."""
        self.denied.require(digest)
        if self.is_distant():
            self._tier.link(path, digest)
        super().take(path, digest, chunks)

    def _opened(self, digest: Digest, start: int, stop: int | None) -> Reader:
        """Open what is stored, and let a copy be made of it when it is read whole."""
        reader = super()._opened(digest, start, stop)
        whole = start == 0 and stop in (None, reader.size)
        if not whole or hasattr(reader, "fileno"):
            return reader
        filling = self._tier.filling(digest, reader.size)
        return _Copying(reader, filling, digest) if filling else reader

    def _remember(self, reader: Reader) -> None:
        if isinstance(reader, _Copying):
            self._keep(reader.digest, reader.filling)
        super()._remember(reader)

    def _keep(self, digest: Digest, filling: Filling) -> None:
        """Keep a copy whose bytes went through their hash on the way: no need to prove it again."""
        if self.denied.has(digest):
            filling.close()
            return
        filling.keep()
        if copy := self._tier.open(digest):
            with copy:
                super()._remember(copy)

    def _proving(self, digest: Digest, reader: Reader) -> Reader:
        """Prove a whole copy before a range of it is read."""
        whole = self._tier.open(digest)
        if whole is None:
            raise Corrupt(str(digest))
        with whole:
            found = digest.hasher()
            while data := whole.read(READ_BYTES):
                found.update(data)
            if found.hexdigest() != digest.hex:
                raise self._drop(digest)
            self._remember(whole)
        return reader

    def _drop(self, digest: Digest) -> Corrupt:
        log.warning("the copy of %s on this node is damaged: it is dropped", digest)
        self._tier.drop(digest)
        return Corrupt(str(digest))

    def restore(self, digest: Digest) -> bool:
        """Store this node's copy in place of a damaged one; return whether that was done."""
        try:
            copy = self.open_copy(digest)
            if copy is None:
                return False
            with copy:
                self.put(digest, iter(partial(copy.read, READ_BYTES), b""))
        except StorageError as exc:
            log.info("%s is not mended from this node's copy: %s", digest, exc)
            return False
        return True

    def copy_size(self, digest: Digest) -> int | None:
        """Size of a copy in bytes; None = there is none."""
        return self._tier.size(digest)

    def forget(self, digests: Iterable[Digest]) -> int:
        """Remove the copies of what was purged; return how many there were."""
        return sum(self._tier.drop(digest) for digest in digests)

    def sweep(self) -> int:
        """Remove copies that were never finished, or were purged; return how many.

        Raises: OSError.
        """
        return self._tier.sweep() + self.forget(self.denied.all())

    def is_distant(self) -> bool:
        """Whether the storage lies elsewhere, so that copies and facts are worth keeping."""
        return not (isinstance(self._backend, KnowsPlace) and self._backend.is_local())


class _Copying(verified._Wrapper):
    """Passes an entry on, and its bytes to a copy as well."""

    def __init__(self, inner: Reader, filling: Filling, digest: Digest) -> None:
        super().__init__(inner)
        self.filling, self.digest = filling, digest

    def _piece(self, n: int) -> bytes:
        data = self._inner.read(n)
        self.filling.write(data)
        return data

    def close(self) -> None:
        self._inner.close()
        self.filling.close()


def _passing(body: Iterable[bytes], filling: Filling) -> Iterator[bytes]:
    for data in body:
        filling.write(data)
        yield data
