"""Brings one blob from its upstream into a partial, whatever the link does, and proves it.

Each try goes on where the last one broke off. Only lack of progress ends it, and what was
brought stays for the next one.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from distserver.oci.digests import Digest, new_hash
from distserver.proxy.partial import Lock, PartialWriter
from distserver.proxy.upstream_errors import (
    UpstreamAbsent,
    UpstreamError,
    UpstreamLied,
    UpstreamRefused,
    UpstreamUnavailable,
)
from distserver.proxy.upstream_registry import Body
from distserver.registry.content import Hashes

log = logging.getLogger(__name__)

READ_BYTES = 256 << 10
GIVE_UP_SECONDS = 30.0
"""Without one new byte for so long, the fetch ends and its waiters are told."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0

Open = Callable[[int], Body]
"""Opens the blob at the upstream from a byte on."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a fetch goes on without progress, and what it sleeps on.

    seconds  without a new byte
    stop     set when the process ends: the fetch then ends too, its bytes stay
    """

    stop: threading.Event
    seconds: float = GIVE_UP_SECONDS


def fetch(lock: Lock, digest: Digest, open_body: Open, patience: Patience) -> Hashes:
    """Fill the partial until it is the whole blob; return its hashes, proved and on the disk.

    Raises: UpstreamAbsent, UpstreamRefused, UpstreamUnavailable (no progress; the bytes stay),
    UpstreamLied (the bytes are not those of the digest and are gone), OSError (this node's disk).
    """
    with lock.writer(digest.algorithm) as writer:
        _fill(lock, writer, open_body, patience)
        found = writer.hashes.digest
        if found != digest:
            writer.truncate()
            lock.set_size(None)
            raise UpstreamLied(f"the bytes have the digest {found}, not {digest}")
        writer.sync()
        return writer.hashes


def _fill(lock: Lock, writer: PartialWriter, open_body: Open, patience: Patience) -> None:
    pause, last_progress = FIRST_PAUSE_SECONDS, time.monotonic()
    while True:
        before = writer.hashes.size
        try:
            if _append(lock, writer, open_body):
                return
            error: UpstreamError = UpstreamUnavailable("the upstream ends the blob short")
        except (UpstreamAbsent, UpstreamRefused, UpstreamLied):
            raise
        except UpstreamError as exc:
            error = exc
        if writer.hashes.size > before:
            pause, last_progress = FIRST_PAUSE_SECONDS, time.monotonic()
        log.info("blob broken off at byte %d: %s", writer.hashes.size, error)
        if time.monotonic() - last_progress + pause > patience.seconds:
            raise error
        if patience.stop.wait(pause * random.uniform(0.5, 1)):  # noqa: S311
            raise error
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _append(lock: Lock, writer: PartialWriter, open_body: Open) -> bool:
    """Ask once from where we stand; return whether the blob is whole then."""
    known = lock.partial.size()
    if known is not None and writer.hashes.size == known:
        return True
    with open_body(writer.hashes.size) as body:
        if known is not None and body.size != known:
            writer.truncate()
            lock.set_size(body.size)
            raise UpstreamUnavailable(f"the blob has {body.size} bytes now, it had {known}")
        lock.set_size(body.size)
        if body.start < writer.hashes.size:
            _skip(body, writer)
        while data := body.read(READ_BYTES):
            if writer.hashes.size + len(data) > body.size:
                raise UpstreamLied("more bytes come than the upstream announced")
            writer.append(data)
        return writer.hashes.size == body.size


def _skip(body: Body, writer: PartialWriter) -> None:
    """Pass over what we have; if the upstream sends other bytes now, start again with its own."""
    expected, found = writer.hashes.digest, new_hash(writer.hashes.algorithm)
    left = writer.hashes.size
    while left and (data := body.read(min(READ_BYTES, left))):
        found.update(data)
        left -= len(data)
    if left:
        raise UpstreamUnavailable("the upstream ignores ranges and breaks off early")
    if found.hexdigest() != expected.hex:
        writer.truncate()
        raise UpstreamUnavailable("the upstream sends other bytes than before")
