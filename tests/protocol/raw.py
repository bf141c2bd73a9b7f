"""Raw connections: what no HTTP library would send."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.live import Server

DEADLINE_SECONDS = 20.0


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    """A connection that waits at most DEADLINE_SECONDS for anything."""
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as sock:
        yield sock


def read_all(sock: socket.socket) -> bytes:
    """What comes until the other side closes; a reset is such a close. Raises: TimeoutError."""
    received: list[bytes] = []
    try:
        while data := sock.recv(1 << 20):
            received.append(data)
    except ConnectionResetError:
        return b"".join(received)
    return b"".join(received)


def exchange(server: Server, data: bytes, *, end: bool = False) -> bytes:
    """Send bytes, perhaps end our side, and read until the server closes."""
    with connected(server) as sock:
        sock.sendall(data)
        if end:
            sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def status(answer: bytes) -> int:
    """Status of the first answer in what was received; 0 = none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0
