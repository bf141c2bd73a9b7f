"""Our gunicorn worker: gthread with limits on silence.

A small subclass, so that stock gthread stays a working choice. What it adds:

* a TLS hello on a plain port is answered 400 and closed at once (skopeo and podman else wait 10 s);
* a connection that neither takes nor gives a byte for a while is cut, in body and answer;
* a TLS handshake, and the headers of a request, take at most 10 s each, however they drip;
* a file leaves by sendfile with that limit, and never ends well when it ends early;
* closing lingers in a request thread, not in the loop that accepts;
* a worker that ends closes its port at once and only then waits for its transfers;
* a worker whose threads neither answer nor move a byte sends no heartbeat: the master replaces it.
"""

from __future__ import annotations

import errno
import signal
import socket
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from wsgiref.util import setup_testing_defaults

from gunicorn import util
from gunicorn.http.errors import InvalidHeader, NoMoreData, UnsupportedTransferCoding
from gunicorn.workers.gthread import TConn, ThreadWorker

from distserver.server.pulse import Pulse
from distserver.server.sender import SendFile

HEADER_SECONDS = 10.0
"""For a handshake or all headers of a request; less where stall_timeout_seconds is less."""
RECEIVE_BYTES = 256 << 10
"""Read from a socket at once; gunicorn's 8 KiB cost a third of a push's processor time."""
TLS_HELLO = b"\x16"
PLAIN_HERE = b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\n"
"""What Go clients recognise as "server gave HTTP response to HTTPS client" and go on plain."""
STOPS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
_NOBODY_THERE = (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK)


class Accepted(socket.socket):
    """A socket that never blocks for ever: gunicorn makes it block before the TLS handshake.

    limit_seconds  for one operation; Python counts a whole handshake as one
    """

    limit_seconds = HEADER_SECONDS

    def setblocking(self, flag: bool) -> None:
        """Block for limit_seconds at most, or not at all."""
        self.settimeout(self.limit_seconds if flag else 0.0)


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A connection that does not wait for ever.

    sock  an Accepted, before gunicorn wraps it for TLS
    """

    def __init__(self, cfg: Any, sock: Accepted, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.header_seconds = sock.limit_seconds

    def init(self) -> None:
        """Called by a request thread before each request is read."""
        if not self.initialized and not self.cfg.is_ssl:
            self._refuse_tls_hello()
        super().init()
        self.parser.unreader.mxchunk = RECEIVE_BYTES
        self.parser.unreader.chunk = self._header_chunk
        self._deadline = time.monotonic() + self.header_seconds

    def headers_are_read(self, silence_seconds: float, moved: Callable[[], None]) -> None:
        """From here on a limit of silence holds, not the deadline of the headers.

        moved  called whenever bytes of the body came
        """
        self._moved = moved
        self.parser.unreader.chunk = self._body_chunk
        self.sock.settimeout(silence_seconds)

    def close(self, graceful: bool = False) -> None:
        """Called by the loop; the request thread has lingered already (Worker.handle)."""
        util.close(self.sock)

    def _header_chunk(self, size_hint: int | None = None) -> bytes:
        """Stands before SocketUnreader.chunk, an attribute of the class, while headers are read."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the headers came too slowly")
        self.sock.settimeout(left)
        return self._receive(size_hint)

    def _body_chunk(self, size_hint: int | None = None) -> bytes:
        """The same while a body is read."""
        data = self._receive(size_hint)
        self._moved()
        return data

    def _receive(self, size_hint: int | None) -> bytes:
        unreader = self.parser.unreader
        data: bytes = type(unreader).chunk(unreader, size_hint)
        return data

    def _refuse_tls_hello(self) -> None:
        self.sock.setblocking(True)
        if self.sock.recv(1, socket.MSG_PEEK) == TLS_HELLO:
            self.sock.sendall(PLAIN_HERE)
            raise NoMoreData


class Worker(ThreadWorker):  # type: ignore[misc]
    """gthread with the limits of this module's docstring."""

    wsgi: Any

    def load_wsgi(self) -> None:
        """Put what the application may use into the environment of each request."""
        super().load_wsgi()
        self.stall_seconds = float(self.wsgi.extensions["distserver.config"].stall_timeout_seconds)
        self.wsgi.extensions["distserver.after_fork"]()
        self._before_exit: Callable[[], None] = self.wsgi.extensions["distserver.before_exit"]
        self.wsgi = self._with_extras(self.wsgi)
        self._pulse = Pulse(self._answers, self.stall_seconds)

    def init_signals(self) -> None:
        """Take signals; the master held them back until now."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)

    def notify(self) -> None:
        """Called by the loop about each second: tell the master that this worker works."""
        if not self.alive or self._pulse.beats(self.tpool):
            super().notify()

    def accept(self, listener: socket.socket) -> None:
        """Accept one connection; as gthread does, with our Connection."""
        try:
            client, address = listener.accept()
        except OSError as exc:
            if exc.errno not in _NOBODY_THERE:
                raise
            return
        self.nr_conns += 1
        accepted = Accepted(fileno=client.detach())
        accepted.limit_seconds = min(HEADER_SECONDS, self.stall_seconds)
        self.enqueue_req(Connection(self.cfg, accepted, address, listener.getsockname()))

    def set_accept_enabled(self, enabled: bool) -> None:
        """Stop accepting; when the worker ends, close the port as well.

        gthread keeps it open until the last transfer is over: who connects meanwhile would wait
        for an answer that never comes, and a new server could not take the port.
        """
        super().set_accept_enabled(enabled)
        if not enabled and not (self.alive and self.is_parent_alive()):
            for listener in self.sockets:
                listener.close()
            self._before_exit()

    def _cap_keepalive(self, deadline: float) -> None:
        """Called once when the worker ends: idle connections are closed by a time.

        gthread forgets those that never asked anything, and would wait for them as long as for a
        kept one in service.
        """
        super()._cap_keepalive(deadline)
        for connection in self.pending_conns:
            connection.timeout = min(connection.timeout, deadline)

    def handle(self, conn: Connection) -> Any:
        """Serve a request in a thread; linger here when the connection is over."""
        keep = super().handle(conn)
        if not keep:
            util.close_graceful(conn.sock)
        return keep

    def handle_request(self, req: Any, conn: Connection) -> Any:
        """Serve one parsed request under the limit of silence."""
        conn.headers_are_read(self.stall_seconds, self._pulse.moved)
        try:
            return super().handle_request(req, conn)
        except TimeoutError:
            self.log.info("cut %s %s: silent for %d s", req.method, req.path, self.stall_seconds)
            return False

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer what cannot be parsed; an unknown coding is the client's fault too, so no 501."""
        if isinstance(exc, UnsupportedTransferCoding):
            exc = InvalidHeader("Transfer-Encoding")
        super().handle_error(req, client, addr, exc)

    def _answers(self) -> bool:
        """Whether the application answers; called in a request thread, as any request is."""
        environ: dict[str, Any] = {"PATH_INFO": "/healthz"}
        setup_testing_defaults(environ)
        told: list[str] = []
        for _ in self.wsgi(environ, lambda status, headers, exc_info=None: told.append(status)):
            pass
        return bool(told) and told[0].startswith("200")

    def _with_extras(self, app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        def extended(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            environ["distserver.draining"] = not self.alive
            environ["distserver.moved"] = self._pulse.moved
            environ["distserver.file_body"] = partial(SendFile, environ, self.stall_seconds)
            return app(environ, start_response)

        return extended
