"""One request that came to the fault proxy, and all that can be done with it."""

from __future__ import annotations

import contextlib
import fcntl
import io
import select
import socket
import struct
import termios
import threading
from dataclasses import dataclass, field

from tests.upstreams.wire import Head, answer_head, read_head

BACKEND_SECONDS = 30.0
BLOCK = 1 << 16
POLL_SECONDS = 0.05
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Ended(Exception):
    """The client's connection is over."""


@dataclass
class Seen:
    """A request as it came, and how much of a body it was answered with so far."""

    method: str
    path: str
    head: Head
    body: bytes = b""
    sent: int = 0

    @property
    def line(self) -> str:
        """`METHOD path`, what rules look at."""
        return f"{self.method} {self.path}"

    @property
    def offset(self) -> int:
        """First byte that was asked for."""
        _, _, given = self.head.get("Range").partition("bytes=")
        return int(given.partition("-")[0]) if given else 0


@dataclass
class Exchange:
    """A request and its connection.

    backend  host and port of what is behind the proxy
    cut_off  set when all connections of before are to end
    """

    seen: Seen
    client: socket.socket
    backend: tuple[str, int]
    cut_off: threading.Event
    _upstream: socket.socket | None = None
    _answer: io.BufferedReader = field(default_factory=lambda: io.BufferedReader(io.BytesIO()))

    def forward(self, *without: str) -> Head:
        """Ask the backend as the client asked, but for some headers; return its answer's head."""
        self._upstream = socket.create_connection(self.backend, BACKEND_SECONDS)
        head = self.seen.head.without("Connection", *without).having("Connection", "close")
        self._upstream.sendall(bytes(head) + self.seen.body)
        self._answer = self._upstream.makefile("rb")
        answer = read_head(self._answer)
        if answer is None:
            raise Ended
        return answer.without("Connection")

    def read(self, n: int = BLOCK) -> bytes:
        """Some of the backend's body, as it is on the wire; b"" at the end."""
        return self._answer.read1(n)

    def send_head(self, head: Head) -> None:
        """Send an answer's head."""
        self.send_raw(bytes(head))

    def send_raw(self, data: bytes) -> None:
        """Send bytes that are no body, as they are."""
        try:
            self.client.sendall(data)
        except OSError as exc:
            raise Ended from exc

    def send(self, data: bytes) -> None:
        """Send some of the answer's body, and count it. A HEAD gets none."""
        if self.seen.method != "HEAD":
            self.send_raw(data)
            self.seen.sent += len(data)

    def send_rest(self) -> None:
        """Send all that the backend still gives."""
        while data := self.read():
            self.send(data)

    def send_some(self, count: int) -> bool:
        """Send so many bytes of what the backend still gives; return whether there are more."""
        while count > 0 and (data := self.read(min(count, BLOCK))):
            self.send(data)
            count -= len(data)
        return bool(self._answer.peek(1)) and self.seen.method != "HEAD"

    def send_slowly(self, data: bytes) -> None:
        """Send bytes that are no body, one a second. Raises: Ended, as pause."""
        for byte in data:
            self.send_raw(bytes((byte,)))
            self.pause(1)

    def reply(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        """Answer without asking the backend."""
        self.send_head(answer_head(status, len(body), headers))
        self.send(body)

    def pause(self, seconds: float) -> None:
        """Do nothing for a while. Raises: Ended if the client goes away, or all are cut off."""
        for _ in range(max(1, round(seconds / POLL_SECONDS))):
            if self.cut_off.wait(POLL_SECONDS) or self._is_gone():
                raise Ended

    def hang(self) -> None:
        """Do nothing, for ever. Raises: Ended, as pause."""
        while True:
            self.pause(60)

    def cut(self) -> None:
        """End the connection as a process does that closes it: with FIN. Raises: Ended."""
        raise Ended

    def reset(self) -> None:
        """End the connection with RST when all that was sent has arrived. Raises: Ended."""
        while self._unacknowledged():
            self.pause(POLL_SECONDS)
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        raise Ended

    def close(self) -> None:
        """Let go of the backend."""
        self._answer.close()
        if self._upstream:
            self._upstream.close()

    def _unacknowledged(self) -> int:
        """Bytes that the client's side has not confirmed; a reset would take them away."""
        (count,) = struct.unpack("i", fcntl.ioctl(self.client, termios.TIOCOUTQ, bytes(4)))
        return int(count)

    def _is_gone(self) -> bool:
        if not select.select([self.client], [], [], 0)[0]:
            return False
        with contextlib.suppress(OSError):
            return not self.client.recv(1)
        return True
