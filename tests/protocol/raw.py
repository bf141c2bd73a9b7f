"""Raw connections: what no HTTP library would send."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live import Server, wait_for

DEADLINE_SECONDS = 20.0
SMALL_BYTES = 1 << 20
"""The server takes a body by pieces of this size: less than one stays in its connection."""


@contextmanager
def connected(server: Server, *, window: int = 0) -> Iterator[socket.socket]:
    """A connection that waits at most DEADLINE_SECONDS for anything.

    window  bytes that we let wait unread; 0 = as many as the system likes
    """
    with socket.socket() as sock:
        sock.settimeout(DEADLINE_SECONDS)
        if window:  # before connect: the window is agreed on there
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        sock.connect(("127.0.0.1", server.port))
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


@contextmanager
def half_sent(
    server: Server, storage: Path, method: str, path: str, body: bytes
) -> Iterator[Callable[[], int]]:
    """A push that the server has begun to store and whose body has not come to its end.

        storage  directory, where the half has to turn up
        body     more than 2 * SMALL_BYTES
    Yields what sends the rest and returns the status.
    """
    half = len(body) // 2
    with connected(server) as sock:
        headers = (f"Content-Length: {len(body)}", "Connection: close")
        sock.sendall(request(method, path, *headers, body=body[:half]))
        wait_for(lambda: _is_being_stored(storage), DEADLINE_SECONDS, "half a body in the storage")

        def finish() -> int:
            sock.sendall(body[half:])
            return status(read_all(sock))

        yield finish


def _is_being_stored(storage: Path) -> bool:
    return any(_size(path) >= SMALL_BYTES for path in (storage / "tmp").glob("*"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # another request's, and over by now
        return 0
