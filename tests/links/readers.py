"""Clients that read a blob as containerd does: what ends short is taken up again with a Range."""

from __future__ import annotations

import hashlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

READ_BYTES = 256 << 10
PAUSE_SECONDS = 0.2


@dataclass
class Reading:
    """What one client saw.

    first    seconds from its first request to the first byte of the body; None = none came
    got      bytes so far
    ended    monotonic times when an answer ended short
    answers  status of each answer, or the name of the error in its place
    """

    digest: str
    size: int
    got: int = 0
    first: float | None = None
    ended: list[float] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    @property
    def right(self) -> bool:
        """Whether the whole blob came, and no other byte."""
        return self.got == self.size and f"sha256:{self.hash.hexdigest()}" == self.digest


@dataclass(frozen=True)
class Reader:
    """How a client reads.

    host     HOST:PORT of the server
    silence  seconds without a byte after which it asks again
    seconds  after which it gives up
    """

    host: str
    silence: float = 60.0
    seconds: float = 120.0

    def read(self, path: str, reading: Reading) -> Reading:
        """Read a blob to its end, or until the time is over; the reading is kept up to date."""
        begin = time.monotonic()
        while reading.got < reading.size and time.monotonic() < begin + self.seconds:
            before = reading.got
            self.once(path, reading, begin)
            if reading.got == before:
                time.sleep(PAUSE_SECONDS)  # the server is away: no busy loop
        return reading

    def once(self, path: str, reading: Reading, begin: float | None = None) -> None:
        """Ask once for what is missing, and read what comes; begin = when the reader began."""
        try:
            self._ask(path, reading, begin or time.monotonic())
        except (OSError, http.client.HTTPException) as exc:
            reading.answers.append(type(exc).__name__)
        reading.ended.append(time.monotonic())

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask once; return status and body. Raises: OSError, HTTPException."""
        connection = http.client.HTTPConnection(self.host, timeout=self.silence)
        try:
            connection.request("GET", path)
            with connection.getresponse() as answer:
                return answer.status, answer.read()
        finally:
            connection.close()

    def _ask(self, path: str, reading: Reading, begin: float) -> None:
        connection = http.client.HTTPConnection(self.host, timeout=self.silence)
        headers = {"Range": f"bytes={reading.got}-"} if reading.got else {}
        try:
            connection.request("GET", path, headers=headers)
            with connection.getresponse() as answer:
                reading.answers.append(str(answer.status))
                if answer.status == (206 if reading.got else 200):
                    self._take(answer, reading, begin)
        finally:
            connection.close()

    def _take(self, answer: http.client.HTTPResponse, reading: Reading, begin: float) -> None:
        while data := answer.read1(READ_BYTES):
            if reading.first is None:
                reading.first = time.monotonic() - begin
            reading.hash.update(data)
            reading.got += len(data)


@contextmanager
def crowd(count: int, work: Callable[[int], object], seconds: float = 120.0) -> Iterator[None]:
    """Do something so many times at the same moment, in threads, while the block runs.

    After the block all must end within seconds. What one raises is raised here.
    """
    errors: list[BaseException] = []
    gate = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            gate.wait(30)
            work(number)
        except BaseException as exc:
            errors.append(exc)

    # Daemons: when the block fails, nobody waits for readers that are stuck.
    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    yield
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads), "clients are stuck"


def percentile(values: list[float], part: float) -> float:
    """The value that such a part of all values does not exceed, e.g. 0.99."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]
