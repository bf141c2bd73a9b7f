"""A TCP port that stays ours while what it does to connections changes."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Callable

Serve = Callable[[socket.socket], None]
PROBE_SECONDS = 0.2


class Port:
    """A port of a loopback address, reserved until closed. It refuses until told otherwise.

    serve  called in a thread of its own with each connection that is accepted; closes it
    """

    def __init__(self, serve: Serve, host: str = "127.0.0.1") -> None:
        self.host, self._serve = host, serve
        self._reserved = _shared(host, 0)
        self.number: int = self._reserved.getsockname()[1]
        self._listener: socket.socket | None = None
        self._waiting: list[socket.socket] = []
        self._accepting: threading.Thread | None = None

    def listen(self) -> None:
        """Accept and serve."""
        self.refuse()
        self._listener = _shared(self.host, self.number)
        self._listener.listen(128)
        self._accepting = threading.Thread(target=self._accept, args=(self._listener,))
        self._accepting.start()

    def refuse(self) -> None:
        """Answer each SYN with a reset."""
        if self._listener:
            with contextlib.suppress(OSError):  # not connected, says Linux, and wakes accept
                self._listener.shutdown(socket.SHUT_RDWR)
        if self._accepting:
            self._accepting.join(10)
        for sock in (self._listener, *self._waiting):
            if sock:
                sock.close()
        self._listener, self._accepting, self._waiting = None, None, []

    def ignore(self) -> None:
        """Let the kernel take connections, and never look at them."""
        self.refuse()
        self._listener = _shared(self.host, self.number)
        self._listener.listen(128)

    def drop(self) -> None:
        """Leave each SYN without an answer: the queue of connections is full."""
        self.refuse()
        self._listener = _shared(self.host, self.number)
        self._listener.listen(0)
        while self._took_one():
            continue

    def close(self) -> None:
        """Give the port back."""
        self.refuse()
        self._reserved.close()

    def _took_one(self) -> bool:
        sock = socket.socket()
        sock.settimeout(PROBE_SECONDS)
        self._waiting.append(sock)
        return sock.connect_ex((self.host, self.number)) not in (errno.EAGAIN, errno.ETIMEDOUT)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()


def _shared(host: str, number: int) -> socket.socket:
    """A bound socket beside which others of this process may be bound to the same port."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, number))
    return sock
