"""An upstream behind a link, for tests of fetches: no network, every byte counted."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from distserver.oci.digests import Digest
from distserver.proxy.fetching.fetch import Terms, fetch
from distserver.proxy.fetching.partial import Partial
from distserver.proxy.fetching.room import Room
from distserver.proxy.upstream.errors import UpstreamUnavailable
from distserver.proxy.upstream.limits import Rate

DATA = random.Random(3).randbytes(19_777_216)
D = Digest.of(DATA)


class Link:
    """An Origin and its bodies: gives out at most `cut` bytes a connection.

    sent    bytes that crossed the link
    starts  bytes that it was asked from
    blamed  what it was told of wrong bytes
    ranges  whether it honours them
    most    bytes that come at once
    """

    def __init__(self, data: bytes = DATA, cut: int = 1 << 40, ranges: bool = True) -> None:
        self.data, self.cut, self.ranges = data, cut, ranges
        self.sent, self.most = 0, 1 << 20
        self.starts: list[int] = []
        self.blamed: list[bool] = []
        self.size = len(data)

    def open(self, start: int, stall_seconds: float = 30.0) -> Link:
        self.starts.append(start)
        self.start = start if self.ranges and start < self.size else 0
        self._at, self._left = self.start, self.cut
        return self

    def blame(self, mixed: bool) -> None:
        self.blamed.append(mixed)

    def read(self, n: int) -> bytes:
        part = self.data[self._at : self._at + min(n, self._left, self.most)]
        if not part and self._at < len(self.data):
            raise UpstreamUnavailable("cut")
        self._at, self._left = self._at + len(part), self._left - len(part)
        self.sent += len(part)
        return part

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *exc: object) -> None:
        return


def terms(
    directory: Path,
    patience: float = 5.0,
    stopped: Callable[[], bool] = lambda: False,
    room: Room | None = None,
) -> Terms:
    """Terms without limits."""
    return Terms(
        room or Room(directory, 1 << 40, 0), Rate(directory / "rate", 0), stopped, patience
    )


def bring(partial: Partial, link: Link, **more: object) -> bytes:
    """Fetch the whole into a partial and return what lies there."""
    lock = partial.try_lock()
    assert lock
    with lock:
        fetch(lock, D, link, terms(partial.directory.parent, **more))  # type: ignore[arg-type]
        return partial.data.read_bytes()
