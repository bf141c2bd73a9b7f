"""How a file leaves: by sendfile, bounded in silence, closed short when the file ends early."""

from __future__ import annotations

import os
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from backends.base import Reader

READ_BYTES, BETWEEN_BYTES = 1 << 20, 64 << 10
SEND_BYTES = 16 << 20


class SendFile:
    """A response body that sends `size` bytes of a reader from where it stands.

    A local file goes by sendfile to the socket that gunicorn put into the environment, also one
    that is still growing (a reader with span); any other, or one under TLS, is read and yielded.
    Raises OSError when the reader ends early or the client takes nothing for stall_seconds:
    gunicorn then closes the connection, short of its length.
    """

    def __init__(
        self, environ: dict[str, Any], stall_seconds: float, reader: Reader, size: int
    ) -> None:
        self._environ = environ
        self._socket = environ["gunicorn.socket"]
        self._stall_seconds = stall_seconds
        self._reader = reader
        self._left = size

    def __iter__(self) -> Iterator[bytes]:
        fileno = getattr(self._reader, "fileno", None)
        growing = hasattr(self._reader, "span")
        if isinstance(self._socket, ssl.SSLSocket) or not (fileno or growing):
            yield from self._read()
            return
        yield b""  # gunicorn sends the headers with the first piece
        with _blocking(self._socket, self._stall_seconds):
            if fileno:
                while self._left:
                    self._send(fileno(), None, self._left)
                return
            yield from self._follow(self._reader)

    def close(self) -> None:
        """Called by gunicorn when the answer is over, or given up."""
        self._reader.close()

    def _follow(self, reader: Any) -> Iterator[bytes]:
        """Send what is there of a growing file; where nothing is, read waits for the next bytes."""
        while self._left:
            if span := reader.span(min(SEND_BYTES, self._left)):
                start, end = span.start, span.start + span.count
                while start < end:
                    start += self._send(span.descriptor, start, end - start)
                continue
            data = reader.read(min(BETWEEN_BYTES, self._left))
            self._count(len(data))
            yield data

    def _read(self) -> Iterator[bytes]:
        while self._left:
            data = self._reader.read(min(READ_BYTES, self._left))
            self._count(len(data))
            yield data

    def _send(self, source: int, offset: int | None, count: int) -> int:
        """Send some of a file, and return how much."""
        try:
            sent = os.sendfile(self._socket.fileno(), source, offset, min(SEND_BYTES, count))
        except BlockingIOError as exc:
            raise TimeoutError("the client takes nothing") from exc
        self._count(sent)
        return sent

    def _count(self, sent: int) -> None:
        if not sent:
            raise OSError("the entry ended before its size")
        self._left -= sent
        self._environ["distserver.moved"]()
        self._environ["distserver.sent"] = self._environ.get("distserver.sent", 0) + sent


@contextmanager
def _blocking(used: socket.socket, seconds: float) -> Iterator[None]:
    """Let the kernel wait for the client, so many seconds at most: it wakes us less than a poll."""
    whole, part = divmod(seconds, 1)
    used.setsockopt(
        socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(whole), int(part * 1e6))
    )
    os.set_blocking(used.fileno(), True)
    try:
        yield
    finally:
        os.set_blocking(used.fileno(), used.gettimeout() is None)
