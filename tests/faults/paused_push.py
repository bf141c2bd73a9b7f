"""A push in a process of its own that stops itself (SIGSTOP) before its n-th call of the storage.

python -m tests.faults.paused_push N PLACE…     exit code 0 = acknowledged, 3 = refused, 4 = no
                                                such call
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

from backends import Backend, open_backend
from backends.base import Entry, Reader, Writer
from backends.errors import StorageError
from distserver.oci.digests import Digest
from distserver.oci.errors import RegistryError
from distserver.oci.names import Tag
from distserver.registry import local_registry
from tests.faults.images import make_image

NAME, TAG = "paused/push", "v1"
REFUSED, NO_SUCH_CALL = 3, 4
IMAGE = make_image("paused", 1_500_000)


class Pausing:
    """The six verbs of a storage; the n-th call waits for SIGCONT first."""

    def __init__(self, inner: Backend, number: int) -> None:
        self._inner, self.left = inner, number

    def count(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGSTOP)

    def stat(self, key: str) -> Entry:
        self.count()
        return self._inner.stat(key)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        self.count()
        return self._inner.open(key, start, stop)

    def create(self) -> Writer:
        self.count()
        return _Writer(self._inner.create(), self)

    def link(self, source: str, target: str) -> None:
        self.count()
        self._inner.link(source, target)

    def delete(self, key: str) -> None:
        self.count()
        self._inner.delete(key)

    def keys(self, prefix: str, after: str = "", settle: bool = False) -> Iterator[str]:
        self.count()
        return self._inner.keys(prefix, after, settle)


class _Writer:
    """A writer whose commit is a call, too."""

    def __init__(self, inner: Writer, pausing: Pausing) -> None:
        self.write, self.abort = inner.write, inner.abort
        self._inner, self._pausing = inner, pausing

    def commit(self, key: str) -> None:
        self._pausing.count()
        self._inner.commit(key)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()


def main(number: int, *places: str) -> int:
    """Push as a client does that skips what is there."""
    backend = Pausing(open_backend(*places, reserve_bytes=0), number)
    registry = local_registry(backend)
    try:
        for blob in IMAGE.blobs:
            digest = Digest.of(blob)
            if not registry.blobs.has(NAME, digest):
                registry.blobs.put(NAME, digest, [blob])
            else:
                registry.blobs.record(NAME, digest)
        registry.manifests.put(NAME, None, [Tag(TAG)], IMAGE.manifest, None)
    except (RegistryError, StorageError) as exc:
        print(exc, file=sys.stderr)
        return REFUSED
    return 0 if backend.left <= 0 else NO_SUCH_CALL


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
