"""Reads a blob while it comes: from the growing partial, then from the storage.

The last 64 KiB wait until the whole is proved, so that no client ever gets a whole body with a
wrong digest. Where the partial does not serve (no room on this node, a fetch that stands still, a
range far ahead of it) the reader asks the upstream itself, and keeps nothing.
"""

from __future__ import annotations

import time
from typing import Self

from backends.base import Reader
from backends.errors import Unavailable
from distserver.proxy.fetching.flights import FIRST_SECONDS, POLL_SECONDS, Flights
from distserver.proxy.fetching.following import Following, Span
from distserver.proxy.fetching.proof import Proof
from distserver.proxy.fetching.room import NoRoom
from distserver.proxy.fetching.uncached import Uncached
from distserver.proxy.fetching.wanted import Wanted
from distserver.proxy.upstream.errors import FINAL, UpstreamError, UpstreamLied, UpstreamUnavailable
from distserver.registry.verified import HOLD_BACK_BYTES

STALL_SECONDS = 30.0
"""A reader without a new byte for so long is cut: its client goes to the next mirror."""
STILL_SECONDS = 5.0
"""A partial that did not grow for so long is passed by."""
AHEAD_BYTES = 64 << 20
"""A reader so far ahead of the partial does not wait for it."""
PIECE_BYTES, FIRST_BYTES = 1 << 20, 16 << 10


class ColdReader:
    """A Reader of [start, stop) of a blob that is on its way; stop None = to the end.

        size   bytes of the whole blob
        since  monotonic time when its client began to wait
    The first bytes are there when the constructor returns: what fails before can still be told.
    Raises: UpstreamError, StorageError. Blocks on: the upstream, FIRST_SECONDS and the step that
    was begun by then: a question of ASK_SECONDS (uplink), SKIP_SECONDS and a read of 5 s. While
    bytes come that all wait for their proof, STALL_SECONDS longer.
    """

    def __init__(
        self,
        flights: Flights,
        wanted: Wanted,
        size: int,
        since: float,
        start: int,
        stop: int | None,
    ) -> None:
        self.size, self._flights, self._wanted = size, flights, wanted
        self._following, self._own = Following(wanted.directory), Uncached(wanted)
        self._stored: Reader | None = None
        self._proof: Proof | None = None
        self._no_room, self._failure = False, ""
        self._since, self._start, self._at = since, start, start
        self._stop = size if stop is None else stop
        self._seat = wanted.limits.seats.take()
        try:
            self._ready = self._more(FIRST_BYTES, since + FIRST_SECONDS)
        except BaseException:
            self.close()
            raise

    def read(self, n: int = -1) -> bytes:
        """See Reader.read. Raises: Unavailable when nothing comes for STALL_SECONDS."""
        if n < 0:
            return b"".join(iter(lambda: self.read(PIECE_BYTES), b""))
        try:
            ready = self._ready or self._more(n, None)
        except UpstreamError as exc:
            raise Unavailable(exc.reason) from exc
        self._ready = ready[n:]
        return ready[:n]

    def span(self, n: int) -> Span | None:
        """Return where the next bytes lie in a local file, up to n of them, and pass over them.

        None where they have to be read: then read waits for them, and proves them.
        Raises: Unavailable.
        """
        if self._ready or self._proof or self._stored:
            return None
        try:
            span = self._following.span(self._at, min(n, self._stop - self._at), self.size)
        except UpstreamError as exc:
            raise Unavailable(exc.reason) from exc
        self._at += span.count if span else 0
        return span

    def close(self) -> None:
        """See Reader.close. The fetch goes on."""
        self._following.close()
        self._own.close()
        if self._stored:
            self._stored.close()
        self._seat.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _more(self, n: int, deadline: float | None) -> bytes:
        """Return the next bytes that may go out; b"" at the end. Raises: UpstreamError.

        deadline  monotonic time; None = STALL_SECONDS after the last sign of progress
        """
        while self._at < self._stop:
            data = self._piece(min(n, self._stop - self._at), deadline)
            self._at += len(data)
            if out := self._proof.take(data) if self._proof else data:
                return out
            if deadline and time.monotonic() > deadline + STALL_SECONDS:
                raise UpstreamUnavailable("it only drips")
        return b""

    def _piece(self, n: int, deadline: float | None) -> bytes:
        begun = time.monotonic()
        while not (data := self._next_bytes(n)):
            late = deadline or max(begun, self._following.grown) + STALL_SECONDS
            # Whoever fetches may have been stopped; then a connection of our own is tried first.
            hopeless = deadline and self._failure and self._following.idle > STALL_SECONDS
            if time.monotonic() > late or hopeless:
                why = self._failure or "nothing comes"
                raise UpstreamUnavailable(f"nothing for {time.monotonic() - begun:.0f} s: {why}")
            self._board()
            time.sleep(POLL_SECONDS)
        return data

    def _next_bytes(self, n: int) -> bytes:
        """Bytes of the partial, else of the stored blob, else of a connection of our own."""
        if self._stored:  # it stands at _at, as long as nothing else is read
            return self._stored.read(n)
        kept = self._following.read(self._at, n, self.size)
        return kept or self._stored_bytes(n) or self._own_bytes(n)

    def _board(self) -> None:
        try:
            if not self._no_room:
                self._flights.board(self._wanted, self._since)
        except NoRoom:
            self._no_room = True

    def _stored_bytes(self, n: int) -> bytes:
        stored = self._flights.stored_size(self._wanted.digest)
        if stored is None:
            return b""
        if stored != self.size:
            raise UpstreamLied(f"it has {stored} bytes, {self.size} were announced")
        self._prove_prefix()
        self._stored = self._flights.stored(self._wanted.digest, self._at, self._stop)
        return self._stored.read(n)

    def _prove_prefix(self) -> None:
        """Have the whole proved, if nobody has proved the partial that its beginning came from.

        The stored blob may have come another way (a push, another upstream), and fits to nothing.
        """
        if self._is_whole and self._at and not self._proof and not self._following.proved:
            self._proof = self._proof_so_far()

    def _own_bytes(self, n: int) -> bytes:
        """Bytes of a connection of our own, where the partial does not serve."""
        if not self._no_room:
            n = min(n, self._provable())
        if n <= 0 or not (self._no_room or self._passes_by()):
            self._own.close()
            return b""
        try:
            data = self._own.read(self._at, n, beside=not self._no_room)
        except FINAL:
            raise
        except UpstreamError as exc:
            self._failure = exc.reason
            return b""
        if data and self._is_whole and self._proof is None:
            self._proof = self._proof_so_far()
        return data

    def _passes_by(self) -> bool:
        still = time.monotonic() - max(self._since, self._following.grown) > STILL_SECONDS
        return still or self._at > self._following.available + AHEAD_BYTES

    @property
    def _is_whole(self) -> bool:
        return self._start == 0 and self._stop == self.size

    def _provable(self) -> int:
        """Bytes from here on that need not wait for the partial's proof."""
        end = self.size - HOLD_BACK_BYTES if self._is_whole else self._stop
        return end - self._at

    def _proof_so_far(self) -> Proof:
        """A proof of the whole body that has seen what went out before."""
        proof, at = Proof(self._wanted.digest, self.size), 0
        while at < self._at:
            end = min(at + PIECE_BYTES, self._at)
            data = self._following.again(at, end)
            if len(data) != end - at:
                raise UpstreamUnavailable("what went out before cannot be read again")
            proof.take(data)
            at = end
        return proof
