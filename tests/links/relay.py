"""A relay before an upstream registry: counts what is fetched, cuts or holds bodies of blobs.

Everything but a GET of a blob passes as it comes. Tests change the rules while it runs.
"""

from __future__ import annotations

import http.client
import re
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK_BYTES = 64 << 10
SEND_BUFFER_BYTES = 32 << 10
"""Small, so that what was sent is nearly what has arrived."""
BACKEND_SECONDS = 60.0
HELD_SECONDS = 600.0
_PASSED_ON = ("Accept", "Range", "Authorization", "Content-Type")
_NOT_PASSED_BACK = {"connection", "keep-alive", "transfer-encoding", "date", "server"}
_RANGE = re.compile(r"bytes=(\d+)-")
_LINGER_NOT = struct.pack("ii", 1, 0)


@dataclass
class Asked:
    """One request as it came.

    path   without its query
    start  first byte that was asked for
    sent   bytes of the body sent so far
    """

    method: str
    path: str
    start: int
    sent: int = 0


@dataclass
class Relay:
    """A running relay; all of it may be used from any thread.

    cut_after  each answer ends after so many bytes of its body; 0 = never
    cut_by     "fin", "rst", or "both" in turn
    cuts       how often that happened
    asked      all requests so far
    """

    url: str
    cut_after: int = 0
    cut_by: str = "fin"
    cuts: int = 0
    asked: list[Asked] = field(default_factory=list)
    _hold_at: int | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def gets(self, digest: str) -> list[Asked]:
        """The GETs of a blob so far."""
        ending = f"/blobs/{digest}"
        return [
            one for one in list(self.asked) if one.method == "GET" and one.path.endswith(ending)
        ]

    def sent(self, digest: str) -> int:
        """Bytes of a blob that were sent so far, some perhaps more than once."""
        return sum(one.sent for one in self.gets(digest))

    def hold_at(self, offset: int) -> None:
        """From now on, send no byte of a blob that lies at or behind an offset."""
        with self._changed:
            self._hold_at = offset
            self._changed.notify_all()

    def release(self) -> None:
        """Hold nothing any more."""
        with self._changed:
            self._hold_at = None
            self._changed.notify_all()

    def room(self, offset: int) -> int:
        """Wait until something may be sent from an offset on; return how much, at most a chunk."""
        with self._changed:
            free: Callable[[], bool] = lambda: self._hold_at is None or offset < self._hold_at  # noqa: E731
            self._changed.wait_for(free, HELD_SECONDS)
            return (
                CHUNK_BYTES if self._hold_at is None else min(CHUNK_BYTES, self._hold_at - offset)
            )


class _Handler(BaseHTTPRequestHandler):
    """Passes one connection's requests on, each by a connection of its own."""

    protocol_version = "HTTP/1.1"
    relay: Relay
    backend: str

    def do_GET(self) -> None:
        match = _RANGE.match(self.headers.get("Range", ""))
        path = self.path.partition("?")[0]
        asked = Asked(self.command, path, int(match[1]) if match else 0)
        self.relay.asked.append(asked)
        connection = http.client.HTTPConnection(self.backend, timeout=BACKEND_SECONDS)
        headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
        try:
            connection.request(self.command, self.path, headers=headers)
            with connection.getresponse() as answer:
                self._answer(asked, answer)
        finally:
            connection.close()

    do_HEAD = do_GET  # noqa: N815  # a name that http.server looks for

    def _answer(self, asked: Asked, answer: http.client.HTTPResponse) -> None:
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _NOT_PASSED_BACK:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if "/blobs/" in asked.path and answer.status in (200, 206):
            self._blob(asked, answer)
        else:
            self.wfile.write(answer.read())

    def _blob(self, asked: Asked, answer: http.client.HTTPResponse) -> None:
        relay, limit = self.relay, self.relay.cut_after or (1 << 62)
        start = asked.start if answer.status == 206 else 0
        while asked.sent < limit:
            room = relay.room(start + asked.sent)
            data = answer.read(min(room, limit - asked.sent))
            if not data or self._is_gone():
                return
            self._send(asked, data)
        if answer.length:
            self._cut()

    def _send(self, asked: Asked, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = self.connection.send(view)
            asked.sent += count
            view = view[count:]

    def _is_gone(self) -> bool:
        """Whether the peer has closed: what is sent to it now would be counted and lost."""
        ready, _, _ = select.select([self.connection], [], [], 0)
        return bool(ready) and self.connection.recv(1, socket.MSG_PEEK) == b""

    def _cut(self) -> None:
        self.relay.cuts += 1
        self.close_connection = True
        by_reset = self.relay.cut_by == "rst"
        if by_reset or (self.relay.cut_by == "both" and self.relay.cuts % 2 == 0):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            socket.close(self.connection.detach())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """A peer that goes away in mid-body is what these tests do."""


@contextmanager
def relay(backend: str, listener: socket.socket) -> Iterator[Relay]:
    """Run a relay until left.

    backend   HOST:PORT of the registry
    listener  a bound socket, perhaps of another network namespace; the relay closes it
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    host, port = listener.getsockname()[:2]
    running = Relay(f"http://{host}:{port}")
    handler = type("Handler", (_Handler,), {"relay": running, "backend": backend})
    server = _Server((host, port), handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.server_activate()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield running
    finally:
        running.release()
        server.shutdown()
        thread.join(10)
        server.server_close()
