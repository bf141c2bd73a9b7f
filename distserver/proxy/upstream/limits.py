"""How much of an upstream's link this node takes: fetches at once, and bytes a second.

Shared by the processes of the node through files; the kernel frees what a dead process held.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from distserver.proxy.upstream.errors import UpstreamBusy
from distserver.proxy.upstream.seats import Seats
from distserver.registry.locks import lock

log = logging.getLogger(__name__)

NODE_FETCHES = 32
MOST_BYTES = 1 << 20
WAIT_SECONDS = 20.0
POLL_SECONDS = 0.05
_TIME = struct.Struct("d")


class Slots:
    """Places for so many fetches; each is a file that its holder has flocked."""

    def __init__(self, directory: Path, count: int) -> None:
        self._directory, self.count = directory, count

    def take(self, most: int) -> int | None:
        """Take a free place among the first `most`; return its descriptor, None if none is free.

        Raises: OSError.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        for number in range(most):
            path = self._directory / str(number)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            else:
                return descriptor
        return None


class Rate:
    """Bytes a second that all processes of the node take together; 0 = no limit."""

    def __init__(self, path: Path, bytes_per_second: int) -> None:
        self._path, self.bytes_per_second = path, bytes_per_second

    @property
    def read_bytes(self) -> int:
        """How much to read at once, so that the flow is even: a quarter of a second's worth."""
        if not self.bytes_per_second:
            return MOST_BYTES
        return max(1024, min(MOST_BYTES, self.bytes_per_second // 4))

    def spend(self, count: int) -> None:
        """Wait until so many bytes may be taken."""
        if not self.bytes_per_second:
            return
        try:
            time.sleep(self._reserve(count / self.bytes_per_second))
        except OSError as exc:
            log.warning("the rate is not limited: %s", exc)

    def _reserve(self, seconds: float) -> float:
        """Book so much of the link's time behind what others booked; return how long to wait."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            lock(descriptor)
            now, kept = time.monotonic(), os.pread(descriptor, _TIME.size, 0)
            booked = _TIME.unpack(kept)[0] if len(kept) == _TIME.size else 0.0
            # A time of another boot lies far ahead; nobody books more than his own share.
            free = booked if now < booked < now + 60 else now
            os.pwrite(descriptor, _TIME.pack(free + seconds), 0)
        finally:
            os.close(descriptor)
        return free + seconds - now


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one upstream, within those of the node.

    seats  for clients of this process
    """

    upstream: Slots
    node: Slots
    rate: Rate
    seats: Seats

    @contextmanager
    def turn(self, background: bool, seconds: float = WAIT_SECONDS) -> Iterator[None]:
        """Wait for a place, and hold it; in the background only half of the places count.

        A state directory that is full or away limits nothing.
        Raises: UpstreamBusy after so many seconds.
        """
        most = max(1, self.upstream.count // 2) if background else self.upstream.count
        deadline = time.monotonic() + seconds
        with ExitStack() as held:
            try:
                for slots, allowed in ((self.upstream, most), (self.node, self.node.count)):
                    held.callback(os.close, _wait_for(slots, allowed, deadline))
            except OSError as exc:
                log.warning("fetches are not limited: %s", exc)
            yield


def _wait_for(slots: Slots, most: int, deadline: float) -> int:
    while (descriptor := slots.take(most)) is None:
        if time.monotonic() > deadline:
            raise UpstreamBusy(f"{most} fetches are under way already")
        time.sleep(POLL_SECONDS)
    return descriptor


def limits_of(
    state: Path, directory: str, fetches: int, bytes_per_second: int, seats: Seats
) -> Limits:
    """Return the limits of an upstream, kept in the state directory.

    fetches           at once from this upstream
    bytes_per_second  0 = no limit
    seats             for clients of this process
    """
    base = state / "limits"
    return Limits(
        Slots(base / directory, fetches),
        Slots(base / "node", NODE_FETCHES),
        Rate(base / f"{directory}.rate", bytes_per_second),
        seats,
    )
