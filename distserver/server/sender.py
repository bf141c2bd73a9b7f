"""How a file leaves: by sendfile, bounded in silence, closed short when the file ends early."""

from __future__ import annotations

import os
import select
import ssl
from collections.abc import Iterator
from typing import Any

from backends.base import Reader

READ_BYTES = 1 << 20
SEND_BYTES = 16 << 20


class SendFile:
    """A response body that sends `size` bytes of a reader from where it stands.

    A local file goes by sendfile to the socket that gunicorn put into the environment;
    any other, or one under TLS, is read and yielded. Raises OSError when the reader ends early or
    the client takes nothing for stall_seconds: gunicorn then closes the connection, short of its
    length.
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
        if fileno is None or isinstance(self._socket, ssl.SSLSocket):
            yield from self._read()
            return
        yield b""  # gunicorn sends the headers with the first piece
        self._send(fileno())

    def close(self) -> None:
        """Called by gunicorn when the answer is over, or given up."""
        self._reader.close()

    def _read(self) -> Iterator[bytes]:
        while self._left:
            data = self._reader.read(min(READ_BYTES, self._left))
            self._count(len(data))
            yield data

    def _send(self, source: int) -> None:
        target = self._socket.fileno()
        while self._left:
            try:
                self._count(os.sendfile(target, source, None, min(SEND_BYTES, self._left)))
            except BlockingIOError:
                self._wait(target)

    def _count(self, sent: int) -> None:
        if not sent:
            raise OSError("the entry ended before its size")
        self._left -= sent
        self._environ["distserver.sent"] = self._environ.get("distserver.sent", 0) + sent

    def _wait(self, target: int) -> None:
        poll = select.poll()
        poll.register(target, select.POLLOUT)
        if not poll.poll(self._stall_seconds * 1000):
            raise TimeoutError("the client takes nothing")
