"""Proves a whole blob that one reader hands out."""

from __future__ import annotations

from distserver.oci.digests import Digest
from distserver.proxy.upstream.errors import UpstreamLied
from distserver.registry.verified import HOLD_BACK_BYTES


class Proof:
    """Passes a body through its hash; the last 64 KiB wait until the digest is proved.

    size  bytes of the whole
    """

    def __init__(self, digest: Digest, size: int) -> None:
        self._digest, self._size = digest, size
        self._hash, self._seen, self._tail = digest.hasher(), 0, b""

    def take(self, data: bytes) -> bytes:
        """Take the next bytes; return those that may go out now, b"" while they wait.

        Raises: UpstreamLied when the whole has another digest.
        """
        self._hash.update(data)
        self._seen += len(data)
        if self._seen <= self._size - HOLD_BACK_BYTES:
            return data
        self._tail += data
        if self._seen < self._size:
            return b""
        if self._hash.hexdigest() != self._digest.hex:
            raise UpstreamLied(f"the bytes that came are not those of {self._digest}")
        return self._tail
