"""A name server on an address of its own, which the servers under test ask instead of the real one.

It listens on port 53 of a free address of 127/8; a server finds it by a resolv.conf of its own,
mounted where only that server sees it.
"""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ANSWER = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x7f\x00\x00\x01"
"""The name that was asked for, class and type, no time to live, four bytes: 127.0.0.1."""
TYPE_A = b"\x00\x01"
NO_ERROR, SERVER_FAILURE, NO_SUCH_NAME, SILENT = 0, 2, 3, -1


class NameServer:
    """A running name server; every name is 127.0.0.1 unless `codes` says otherwise.

    address  where it listens
    codes    response code by name; SILENT = no response
    """

    def __init__(self, sock: socket.socket) -> None:
        self.address: str = sock.getsockname()[0]
        self.codes: dict[str, int] = {}
        self._sock = sock

    def serve(self) -> None:
        """Answer until an empty message comes."""
        while True:
            message, client = self._sock.recvfrom(4096)
            if not message:
                return
            if answer := self._answer(message):
                self._sock.sendto(answer, client)

    def _answer(self, message: bytes) -> bytes:
        name, end = _question(message)
        code = self.codes.get(name, NO_ERROR)
        if code == SILENT:
            return b""
        found = code == NO_ERROR and message[end - 4 : end - 2] == TYPE_A
        counts = bytes((0, 1, 0, int(found), 0, 0, 0, 0))
        head = message[:2] + bytes((0x81, 0x80 | code)) + counts
        return head + message[12:end] + (ANSWER if found else b"")


def _question(message: bytes) -> tuple[str, int]:
    """The name that a message asks for, and where the question ends."""
    labels, at = [], 12
    while length := message[at]:
        labels.append(message[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels).lower(), at + 5


@contextmanager
def name_server() -> Iterator[NameServer]:
    """Run a name server."""
    with _bound() as sock:
        server = NameServer(sock)
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield server
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", sock.getsockname())
            thread.join(10)


def asking(directory: Path, server: NameServer) -> tuple[str, ...]:
    """What to put before a command so that it, alone, asks this name server.

    directory  gets the resolv.conf
    """
    config = directory / "resolv.conf"
    config.write_text(f"nameserver {server.address}\n")
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", script, str(config))


def _bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(100):
        octets = (random.randint(1, 254) for _ in range(3))
        with_port = ("127." + ".".join(map(str, octets)), 53)
        try:
            sock.bind(with_port)
        except OSError:
            continue
        return sock
    sock.close()
    raise OSError("no free address for a name server")
