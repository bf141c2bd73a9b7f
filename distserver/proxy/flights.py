"""One fetch of a blob for any number of readers, threads and processes of a node.

Who needs a blob that is not held joins its flight: the partial of (upstream, digest). Whoever gets
the partial's lock fetches; all read the growing file; when a fetcher dies, a reader takes over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cachetools import TTLCache

from backends.base import Reader
from backends.errors import StorageError, Unavailable
from distserver.oci.digests import Digest
from distserver.proxy.fetch import Open, Patience, fetch
from distserver.proxy.partial import Lock, Partial
from distserver.proxy.upstream_errors import UpstreamError, UpstreamUnavailable
from distserver.registry.content import Content, Hashes
from distserver.registry.verified import HOLD_BACK_BYTES

log = logging.getLogger(__name__)

POLL_SECONDS = 0.02
FIRST_SECONDS = 20.0
"""How long a reader waits for the upstream to say how large a blob is."""
STALL_SECONDS = 30.0
"""A reader without a new byte for so long is cut: its client goes to the next mirror."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A blob to bring: its digest, where its partial lies, and how to open it upstream."""

    digest: Digest
    directory: Path
    open_body: Open = field(compare=False)


class Flights:
    """The fetches of this process, and its readers of all fetches of this node."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._lock = threading.Lock()
        self._failures: TTLCache[Path, tuple[float, UpstreamError]] = TTLCache(1000, 60)
        self.patience = Patience(threading.Event())

    def size(self, wanted: Wanted) -> int:
        """Join the flight and return the blob's size.

        Raises: UpstreamError, StorageError. Blocks on: the upstream, FIRST_SECONDS at most.
        """
        since = time.monotonic()
        while time.monotonic() < since + FIRST_SECONDS:
            size = Partial(wanted.directory).size()
            if size is not None:
                return size
            if self.published(wanted.digest):
                return self._content.size(wanted.digest)
            self.board(wanted, since)
            time.sleep(POLL_SECONDS)
        raise UpstreamUnavailable(f"the upstream says nothing for {FIRST_SECONDS:.0f} s")

    def open(self, wanted: Wanted, start: int, stop: int) -> Reader:
        """Return a reader of [start, stop) that follows the flight. Raises: as size."""
        return ColdReader(self, wanted, self.size(wanted), start, stop)

    def finish(self, wanted: Wanted) -> None:
        """Join the flight and stay until the blob is stored. Raises: as open, and Unavailable."""
        size = self.size(wanted)
        with self.open(wanted, max(0, size - 1), size) as reader:
            reader.read()

    def published(self, digest: Digest) -> bool:
        """Whether the storage holds the blob now. A storage that is away holds nothing."""
        try:
            self._content.size(digest)
        except StorageError:
            return False
        return True

    def stored(self, digest: Digest, start: int, stop: int) -> Reader:
        """Open the published blob. Raises: StorageError."""
        return self._content.open(digest, start, stop)

    def board(self, wanted: Wanted, since: float) -> None:
        """Fetch if nobody does.

            since  monotonic time when the caller began to wait
        Raises: UpstreamError, as a fetch of this process ended that all who waited then waited for;
        who comes later tries again.
        """
        with self._lock:
            ended = self._failures.get(wanted.directory)
        if ended and ended[0] >= since:
            raise ended[1]
        try:
            lock = Partial(wanted.directory).try_lock()
        except OSError as exc:
            raise Unavailable(f"the state directory: {exc.strerror}") from exc
        if lock is None:
            return
        if self.published(wanted.digest):
            with lock:
                lock.remove()
            return
        run: Callable[[], None] = lambda: self._run(lock, wanted)  # noqa: E731
        threading.Thread(target=run, name=f"fetch {wanted.digest}", daemon=True).start()

    def _run(self, lock: Lock, wanted: Wanted) -> None:
        with lock:
            try:
                hashes = fetch(lock, wanted.digest, wanted.open_body, self.patience)
                self._publish(lock, wanted.digest, hashes)
            except UpstreamError as exc:
                log.warning("%s not fetched: %s", wanted.digest, exc.reason)
                self._fail(wanted, exc)
            except (OSError, StorageError) as exc:
                log.error("%s fetched, not kept: %s", wanted.digest, exc)
                self._fail(wanted, UpstreamUnavailable(f"no room to keep it: {exc}"))

    def _fail(self, wanted: Wanted, error: UpstreamError) -> None:
        with self._lock:
            self._failures[wanted.directory] = time.monotonic(), error

    def _publish(self, lock: Lock, digest: Digest, hashes: Hashes) -> None:
        """Bring the proved bytes into the storage, then forget the partial."""
        self._content.take(str(lock.partial.data), digest, hashes)
        lock.remove()


class ColdReader:
    """Reads a blob while it comes. The last 64 KiB wait until the whole is proved and stored."""

    def __init__(self, flights: Flights, wanted: Wanted, size: int, start: int, stop: int) -> None:
        self.size = size
        self._flights, self._wanted = flights, wanted
        self._at, self._stop, self._since = start, stop, time.monotonic()
        self._free = max(0, size - HOLD_BACK_BYTES)
        self._stored: Reader | None = None
        self._partial = Partial(wanted.directory)

    def read(self, n: int = -1) -> bytes:
        """See Reader.read. Raises: Unavailable when nothing comes for STALL_SECONDS."""
        if n < 0:
            return b"".join(iter(lambda: self._some(1 << 20), b""))
        return self._some(n)

    def close(self) -> None:
        """See Reader.close. The fetch goes on."""
        if self._stored:
            self._stored.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _some(self, n: int) -> bytes:
        if self._at >= self._stop or not n:
            return b""
        data = self._wait(min(n, self._stop - self._at))
        self._at += len(data)
        return data

    def _wait(self, n: int) -> bytes:
        deadline, seen = time.monotonic() + STALL_SECONDS, -1
        while time.monotonic() < deadline:
            if data := self._stored_bytes(n) or self._partial_bytes(n):
                return data
            if (now := self._partial.available()) != seen:
                deadline, seen = time.monotonic() + STALL_SECONDS, now
            self._board()
            time.sleep(POLL_SECONDS)
        raise Unavailable(f"nothing of {self._wanted.digest} came for {STALL_SECONDS:.0f} s")

    def _stored_bytes(self, n: int) -> bytes:
        if self._stored is None and self._flights.published(self._wanted.digest):
            self._stored = self._flights.stored(self._wanted.digest, self._at, self._stop)
        return self._stored.read(n) if self._stored else b""

    def _partial_bytes(self, n: int) -> bytes:
        end = min(self._partial.available(), self._free, self._at + n)
        if end <= self._at:
            return b""
        try:
            with self._partial.data.open("rb") as file:
                file.seek(self._at)
                return file.read(end - self._at)
        except FileNotFoundError:
            return b""  # published a moment ago

    def _board(self) -> None:
        try:
            self._flights.board(self._wanted, self._since)
        except UpstreamError as exc:
            raise Unavailable(exc.reason) from exc
