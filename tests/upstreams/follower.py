"""A reader of a blob that notes when bytes came, and how its connection ended."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from typing import Self

from tests.live import Server

SILENCE_SECONDS = 90.0


class Follower:
    """Reads a blob in a thread.

    data   what came so far
    end    how it ended: "length" (all is there), "FIN", "RST", "silence"; "" = not yet
    idle   seconds from the last byte to the end
    """

    def __init__(self, server: Server, path: str) -> None:
        self.data, self.end, self.idle = bytearray(), "", 0.0
        self._path = path
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", server.port, timeout=SILENCE_SECONDS
        )
        self._thread = threading.Thread(target=self._read)

    @property
    def count(self) -> int:
        """Bytes that came so far."""
        return len(self.data)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait for the end."""
        self._thread.join(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._thread.ident:
            with contextlib.suppress(OSError):  # it has ended already
                self._connection.sock.shutdown(socket.SHUT_RDWR)
            self._thread.join(SILENCE_SECONDS)
        self._connection.close()

    def _read(self) -> None:
        last = time.monotonic()
        try:
            self._connection.request("GET", self._path)
            response = self._connection.getresponse()
            while data := response.read1(1 << 16):
                self.data += data
                last = time.monotonic()
            announced = int(response.headers["Content-Length"])
            self.end = "length" if self.count == announced else "FIN"
        except ConnectionResetError:
            self.end = "RST"
        except (TimeoutError, OSError, http.client.HTTPException) as exc:
            self.end = "silence" if isinstance(exc, TimeoutError) else type(exc).__name__
        self.idle = time.monotonic() - last
