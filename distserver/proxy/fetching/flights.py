"""One fetch of a blob for any number of readers, threads and processes of a node.

Who needs a blob that is not held joins its flight: the partial of (upstream, digest). Whoever gets
the partial's lock fetches; all read the growing file (cold); when a fetcher dies, a reader takes
over. Nothing here depends on there being one fetcher: two would only fetch the same bytes twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from backends.base import Reader
from backends.errors import StorageError
from distserver.oci.digests import Digest
from distserver.oci.errors import DigestInvalid, Purged
from distserver.proxy.fetching.fetch import Terms, fetch
from distserver.proxy.fetching.partial import Lock, Partial
from distserver.proxy.fetching.room import NoRoom, Room
from distserver.proxy.fetching.wanted import Wanted
from distserver.proxy.memory import Memory
from distserver.proxy.upstream.errors import (
    QUIET,
    UpstreamBusy,
    UpstreamError,
    UpstreamStalled,
    UpstreamUnavailable,
)
from distserver.registry.content import Content

log = logging.getLogger(__name__)

POLL_SECONDS = 0.02
FIRST_SECONDS = 20.0
"""How long a reader waits for the first byte that it wants."""
LASTING = (NoRoom, UpstreamStalled)
LASTING_SECONDS = 10.0
"""How long what trying again would only find again after a wait is taken as it was."""
FINISH_SECONDS = 120.0
OFFER_SECONDS = 5.0
"""How often a proved blob is offered to a storage that did not take it."""
Ended = UpstreamError | NoRoom


class Flights:
    """The fetches of this process.

    room     for partials
    stopped  whether nothing may be fetched now
    """

    def __init__(self, content: Content, room: Room, stopped: Callable[[], bool]) -> None:
        self._content, self._room, self._stopped = content, room, stopped
        self._ended: Memory[Path, tuple[float, Ended]] = Memory(1000, 60)

    def find_size(self, wanted: Wanted, since: float) -> int:
        """Join the flight, or ask past it where the node has no room; return the blob's size.

            since  monotonic time when the caller began to wait
        Raises: UpstreamError, Purged. Blocks on: the upstream, FIRST_SECONDS at most, and where the
        node has no room one question of ASK_SECONDS (uplink) more.
        """
        self._content.denied.require(wanted.digest)
        with wanted.limits.seats.take():
            try:
                return self._size(wanted, since)
            except NoRoom as exc:
                log.info("%s is handed on, not kept: %s", wanted.digest, exc)
                if exc.size is not None:
                    return exc.size
            with wanted.origin.open(0) as body:
                return body.size

    def finish(self, wanted: Wanted) -> None:
        """Join the flight and stay until the blob is whole.

        Raises: UpstreamError, NoRoom, Purged. Blocks on: the upstream, as long as bytes come.
        """
        since = time.monotonic()
        partial, seen, grown = Partial(wanted.directory), -1, since
        while self.stored_size(wanted.digest) is None:
            self._content.denied.require(wanted.digest)
            self.board(wanted, since)
            if partial.proved_seconds_ago() is not None:
                raise NoRoom("it is whole, but the storage does not take it")
            if (available := partial.available()) != seen:
                seen, grown = available, time.monotonic()
            if time.monotonic() - grown > FINISH_SECONDS:
                raise UpstreamUnavailable("another process's fetch stands still")
            time.sleep(POLL_SECONDS)

    def _size(self, wanted: Wanted, since: float) -> int:
        while time.monotonic() < since + FIRST_SECONDS:
            if (stored := self.stored_size(wanted.digest)) is not None:
                return stored
            self.board(wanted, since)
            if (size := _known_size(wanted)) is not None:
                return size
            time.sleep(POLL_SECONDS)
        raise UpstreamUnavailable(f"the upstream says nothing for {FIRST_SECONDS:.0f} s")

    def stored_size(self, digest: Digest) -> int | None:
        """Size of the blob in the storage; None if it, or the storage, is not there, or purged."""
        try:
            return self._content.size(digest)
        except (StorageError, Purged):
            return None

    def stored(self, digest: Digest, start: int, stop: int) -> Reader:
        """Open the published blob. Raises: StorageError."""
        return self._content.open(digest, start, stop)

    def board(self, wanted: Wanted, since: float) -> None:
        """Fetch if nobody does.

            since  monotonic time when the caller began to wait
        Raises: UpstreamError or NoRoom, as a fetch of this process ended that all who waited then
        waited for; who comes later tries again.
        """
        if ended := self._ended.get(wanted.directory):
            when, error = ended
            lasting = isinstance(error, LASTING) and time.monotonic() - when < LASTING_SECONDS
            if when >= since or lasting:
                raise error
        try:
            failure = Partial(wanted.directory).failure(LASTING_SECONDS)
            if failure and failure.stalled:  # in another process
                raise UpstreamStalled(failure.reason)
            lock = Partial(wanted.directory).try_lock()
        except OSError as exc:
            raise NoRoom(f"the state directory: {exc.strerror}") from exc
        if lock:
            self._start(lock, wanted)

    def _start(self, lock: Lock, wanted: Wanted) -> None:
        """Fetch in a thread. Raises: UpstreamBusy where the system lends none."""
        # A daemon: a process that ends does not wait for it, and the bytes so far stay.
        name, work = f"fetch {wanted.digest}", (lock, wanted)
        try:
            threading.Thread(target=self._run, args=work, name=name, daemon=True).start()
        except (RuntimeError, MemoryError) as exc:
            lock.close()  # else nobody fetches it as long as this process lives
            raise UpstreamBusy("the system lends no thread for one more fetch") from exc

    def _run(self, lock: Lock, wanted: Wanted) -> None:
        with lock:
            try:
                self._bring(lock, wanted)
            except Purged as exc:
                self._note_end(lock, wanted, UpstreamUnavailable(exc.message))
            except (UpstreamError, NoRoom) as exc:
                self._note_end(lock, wanted, exc)
            except (OSError, DigestInvalid) as exc:
                log.error("%s cannot be kept while it comes: %s", wanted.digest, exc)
                self._ended.set(wanted.directory, (time.monotonic(), NoRoom(str(exc))))
                _remove(lock)
            except Exception as exc:
                # The thread ends here: unless those who wait hear of it, each of their polls
                # begins a fetch that fails again.
                log.exception("%s not fetched, by a fault of ours", wanted.digest)
                fault = UpstreamUnavailable(
                    f"fetching it failed: {type(exc).__name__}, see the log"
                )
                self._note_end(lock, wanted, fault)
            if self._content.denied.has(wanted.digest):
                _remove(lock)

    def _note_end(self, lock: Lock, wanted: Wanted, error: Ended) -> None:
        """Tell those who wait here and, of an upstream that was asked, all processes."""
        self._ended.set(wanted.directory, (time.monotonic(), error))
        if isinstance(error, QUIET):
            log.debug("%s not fetched: %s", wanted.digest, error)
            return
        log.warning("%s not fetched: %s", wanted.digest, error)
        try:
            if isinstance(error, UpstreamError):
                lock.set_failed(error.reason, isinstance(error, UpstreamStalled))
        except OSError as exc:
            log.debug("the end is not told to other processes: %s", exc)

    def _bring(self, lock: Lock, wanted: Wanted) -> None:
        self._content.denied.require(wanted.digest)
        offered = lock.partial.proved_seconds_ago()
        if self.stored_size(wanted.digest) is not None:
            lock.remove()
        elif offered is None:
            stopped = lambda: self._stopped() or self._content.denied.has(wanted.digest)  # noqa: E731
            terms = Terms(self._room, wanted.limits.rate, stopped)
            with wanted.limits.turn(wanted.background):
                hashes = fetch(lock, wanted.digest, wanted.origin, terms)
            self._publish(lock, wanted.digest, hashes.chunks)
        elif not 0 <= offered < OFFER_SECONDS:
            self._publish(lock, wanted.digest, lock.proved_chunks())

    def _publish(self, lock: Lock, digest: Digest, chunks: bytes) -> None:
        """Bring the proved bytes into the storage; where it does not take them, keep them here."""
        try:
            self._content.take(str(lock.partial.data), digest, chunks)
        except StorageError as exc:
            log.error("%s is whole, but the storage does not take all of it: %s", digest, exc)
            if self.stored_size(digest) is None:
                lock.set_proved(chunks)
                return
        lock.remove()


def _remove(lock: Lock) -> None:
    try:
        lock.remove()
    except OSError as exc:
        log.warning("a partial blob stays: %s", exc)


def _known_size(wanted: Wanted) -> int | None:
    try:
        return Partial(wanted.directory).size()
    except OSError as exc:
        raise NoRoom(f"the state directory: {exc.strerror}") from exc
