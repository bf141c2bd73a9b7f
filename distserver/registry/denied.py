"""Which content was purged for good: told to every server of a storage by an entry under deny/.

Whoever serves, takes or fetches content asks here first, so the answer comes from memory, which is
FRESH_SECONDS old at most while the storage answers. A list that cannot be read takes nothing back:
what this process, or this node, knew before stays denied, until the storage says otherwise.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from backends import Backend, put, read_all
from backends.errors import Corrupt, NotFound, StorageError
from distserver.oci.digests import Digest
from distserver.oci.errors import Purged
from distserver.registry import layout

log = logging.getLogger(__name__)

FRESH_SECONDS = 2.0
FIRST_SECONDS, PATIENCE_SECONDS = 15.0, 0.5
"""How long those who ask are held back by a storage that hangs, first and later."""
MAX_ENTRY_BYTES = 8192

Listener = Callable[[frozenset[Digest]], object]
"""Told of digests that are denied from now on; what it cannot do, the next sweep does."""


@dataclass(frozen=True, slots=True)
class Denial:
    """An entry of the list. time: seconds since the epoch, 0 = not known."""

    digest: Digest
    time: float = 0.0
    who: str = ""
    reason: str = ""


class DenyList:
    """The deny list of a storage.

    memo  file of this node with what was read last, for a process that begins while the storage
          is away; None = there is none
    """

    def __init__(self, backend: Backend, memo: Path | None = None) -> None:
        self._backend, self._memo = backend, memo
        self._lock, self._thread, self._since = threading.Lock(), threading.Thread(), 0.0
        self._known: frozenset[Digest] | None = None
        self._next_look = 0.0
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Tell it of what is denied; at first of all."""
        self._listeners.append(listener)

    def has(self, digest: Digest) -> bool:
        """Whether content is denied, as far as is known."""
        known = self.all()
        return bool(known) and digest in known  # a digest is hashed only where it has to be

    def require(self, digest: Digest) -> None:
        """Go on only with what is not denied. Raises: Purged."""
        if self.has(digest):
            raise Purged(f"{digest}: {Purged.message}", detail={"digest": str(digest)})

    def all(self) -> frozenset[Digest]:
        """All that is denied, as far as is known.

        Blocks on: a listing now and then, FIRST_SECONDS at most for the first and PATIENCE_SECONDS
        for later ones: a storage that hangs holds up nobody for longer.
        """
        if time.monotonic() >= self._next_look:
            patience = FIRST_SECONDS if self._known is None else PATIENCE_SECONDS
            try:
                looking, since = self._looking()
            except RuntimeError as exc:  # no thread is lent: at a limit, or at the end
                log.debug("the deny list is read by who asks: %s", exc)
                self._refresh()
            else:
                looking.join(max(0.0, since + patience - time.monotonic()))
        return self._known or frozenset()

    def add(self, denial: Denial) -> None:
        """Deny content for good, on every server. Raises: Full, Unavailable."""
        value = {"time": denial.time, "who": denial.who, "reason": denial.reason}
        put(self._backend, layout.denied(denial.digest), json.dumps(value).encode())
        self._next_look = 0.0

    def remove(self, digest: Digest) -> None:
        """Allow content again; it does not come back by that. Raises: NotFound, Unavailable."""
        self._backend.stat(layout.denied(digest))
        self._backend.delete(layout.denied(digest))
        self._next_look = 0.0

    def entries(self) -> Iterator[Denial]:
        """Yield the entries of the list. Raises: Unavailable."""
        for key in self._backend.keys(layout.DENY):
            if digest := layout.denied_digest(key):
                yield self._entry(digest)

    def _entry(self, digest: Digest) -> Denial:
        try:
            data = read_all(self._backend, layout.denied(digest), MAX_ENTRY_BYTES)
            value = json.loads(data)
            return Denial(digest, float(value["time"]), str(value["who"]), str(value["reason"]))
        except (NotFound, Corrupt, ValueError, LookupError, TypeError) as exc:
            return Denial(digest, reason=f"(the entry cannot be read: {exc})")

    def _looking(self) -> tuple[threading.Thread, float]:
        """The thread that reads the list, and when it began; one at a time.

        Raises: RuntimeError.
        """
        with self._lock:
            if not self._thread.is_alive():
                thread = threading.Thread(target=self._refresh, name="denied", daemon=True)
                thread.start()
                self._thread, self._since = thread, time.monotonic()
            return self._thread, self._since

    def _refresh(self) -> None:
        begun, found = time.monotonic(), set[Digest]()
        try:
            for key in self._backend.keys(layout.DENY):
                if digest := layout.denied_digest(key):
                    found.add(digest)
        except StorageError as exc:
            log.debug("the deny list cannot be read, what is known of it counts: %s", exc)
            self._take(found | (self._remembered() if self._known is None else self._known))
            begun = time.monotonic()  # one that hangs is not asked again at once
        else:
            if self._take(found):
                self._remember(found)
        self._next_look = begun + FRESH_SECONDS

    def _take(self, found: set[Digest]) -> bool:
        """Let what was found be known; return whether it is news."""
        before, self._known = self._known, frozenset(found)
        for digest in (before or frozenset()) - self._known:
            log.info("%s is allowed again", digest)
        if new := self._known - (before or frozenset()):
            log.info("denied from now on: %s", ", ".join(sorted(map(str, new))))
            for listener in self._listeners:
                listener(new)
        return before != self._known

    def _remembered(self) -> set[Digest]:
        """What this node read last."""
        try:
            keys = self._memo.read_text().split() if self._memo else []
        except (OSError, ValueError) as exc:
            log.debug("no deny list is remembered: %s", exc)
            return set()
        return set(filter(None, map(layout.denied_digest, keys)))

    def _remember(self, found: set[Digest]) -> None:
        if not self._memo or not (found or self._memo.exists()):
            return
        new = self._memo.with_name(f"{self._memo.name}.{os.getpid()}.new")
        try:
            new.write_text("".join(f"{key}\n" for key in sorted(map(layout.denied, found))))
            new.replace(self._memo)
        except OSError as exc:
            log.warning("the deny list is not remembered for an outage: %s", exc)
