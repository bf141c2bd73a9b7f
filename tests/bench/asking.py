"""Clients that ask for one manifest over and over and note how long each answer took."""

from __future__ import annotations

import itertools
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.bench.load import ACCEPT

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_REQUEST = "{method} {path} HTTP/1.1\r\nHost: bench\r\nAccept: {accept}\r\n\r\n"


@dataclass(frozen=True)
class Asked:
    """What came of asking for a while.

    waits    seconds that each answer took, or each failure until it was one; sorted
    failed   how many had no answer in time, another status than 200, or other bytes
    seconds  until the last client was done
    """

    waits: tuple[float, ...]
    failed: int
    seconds: float

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return (len(self.waits) - self.failed) / self.seconds

    def quantile(self, part: float) -> float:
        """The wait that this part of all did not exceed."""
        return self.waits[min(int(part * len(self.waits)), len(self.waits) - 1)]


@dataclass(frozen=True)
class Question:
    """A manifest that is asked for by HEAD and GET in turn: where, and what is the right body.

    limit  seconds of silence that a client bears
    """

    port: int
    path: str
    body: bytes
    limit: float

    def ask(self, clients: int, seconds: float) -> Asked:
        """Ask by some clients at once, each on a connection of its own while that is good."""
        begin = time.monotonic()
        with ThreadPoolExecutor(clients) as pool:
            work = [pool.submit(self._go_on, begin + seconds) for _ in range(clients)]
            answers = [answer for one in work for answer in one.result()]
        waits = tuple(sorted(wait for wait, _ in answers))
        failed = sum(not good for _, good in answers)
        return Asked(waits, failed, time.monotonic() - begin)

    def _go_on(self, end: float) -> list[tuple[float, bool]]:
        """Ask until the end has come, once at least; return (seconds, whether it was good)."""
        answers: list[tuple[float, bool]] = []
        client: socket.socket | None = None
        for method in itertools.cycle(("HEAD", "GET")):
            begin, good = time.monotonic(), False
            try:
                address = ("127.0.0.1", self.port)
                client = client or socket.create_connection(address, timeout=self.limit)
                good = self._is_good(client, method)
            except OSError:
                pass
            answers.append((time.monotonic() - begin, good))
            done = time.monotonic() >= end
            if client and (done or not good):
                client.close()
                client = None
            if done:
                return answers
        raise AssertionError("a cycle has no end")

    def _is_good(self, client: socket.socket, method: str) -> bool:
        request = _REQUEST.format(method=method, path=self.path, accept=ACCEPT)
        client.sendall(request.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += _some(client)
        head, _, body = answer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        wanted = int(length[1]) if length and method == "GET" else 0
        while len(body) < wanted:
            body += _some(client)
        expected = self.body if method == "GET" else b""
        return head.startswith(b"HTTP/1.1 200") and body == expected


def _some(client: socket.socket) -> bytes:
    data = client.recv(65536)
    if not data:
        raise ConnectionError("the answer was cut short")
    return data
