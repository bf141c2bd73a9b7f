"""One question to an upstream under one deadline, wherever it dawdles.

The timeouts of a socket count silence only: a name server that is away, many addresses, or headers
that drip byte by byte go on for minutes. Here the question runs in a thread of its own; when its
time is over its sockets are shut down, and its caller is told.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar, cast
from weakref import WeakSet

import requests
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ProtocolError

from distserver.proxy.background import in_background
from distserver.proxy.upstream.errors import UpstreamUnavailable

T = TypeVar("T")

CONNECT_SECONDS = 5.0
"""For name, connection and TLS together."""
IDLE_SECONDS = 30.0
"""A connection that was idle for longer is not used again: a link may have swallowed it."""
NEVER = float("inf")


class Wire:
    """All connections of this process to upstreams: cut at once when no traffic is wanted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._is_cut = False

    def require(self) -> None:
        """Refuse to connect while it is cut. Raises: ProtocolError."""
        if self._is_cut:
            raise ProtocolError("no traffic is wanted")

    def add(self, used: socket.socket) -> None:
        """Take note of a connection. Raises: ProtocolError."""
        with self._lock:
            self._sockets.add(used)
        self.require()

    def allow(self) -> None:
        """Let connections be made again."""
        self._is_cut = False

    def cut(self) -> None:
        """Cut all connections, and let no new one be made until allow."""
        with self._lock:
            self._is_cut, sockets = True, list(self._sockets)
        for used in sockets:
            _shut_down(used)


WIRE = Wire()


class Attempt:
    """What one question does to the network, so that it can be ended from outside."""

    current = threading.local()

    def __init__(self) -> None:
        self._connecting_until = NEVER
        self._sockets: list[socket.socket] = []
        self._ended = False

    def late_at(self, deadline: float) -> float:
        """Return the monotonic time when what it does now is late."""
        return min(deadline, self._connecting_until)

    def begin_connecting(self) -> None:
        """Note that a connection is being made."""
        self._connecting_until = time.monotonic() + CONNECT_SECONDS

    def use(self, used: socket.socket) -> None:
        """Note that a connection is there, to be ended with the attempt."""
        self._connecting_until = NEVER
        self._sockets.append(used)
        if self._ended:
            self.end()

    def end(self) -> None:
        """Shut its sockets down, so that whoever waits on one wakes up."""
        self._ended = True
        for used in self._sockets:
            _shut_down(used)


def _shut_down(used: socket.socket) -> None:
    """Wake up whoever waits on a connection."""
    try:
        # Also under TLS, as it stands, and under TLS to a proxy.
        socket.socket.shutdown(getattr(used, "socket", used), socket.SHUT_RDWR)
    except OSError:
        return  # closed already


def bounded(question: Callable[[], T], seconds: float) -> T:
    """Return what the question returns, within seconds, and each connection within CONNECT_SECONDS.

    Raises: what the question raises; UpstreamUnavailable when its time is over.
    """
    attempt = Attempt()

    def run() -> T:
        Attempt.current.value = attempt
        return question()

    deadline = time.monotonic() + seconds
    future = in_background(run, "ask an upstream")
    while not wait([future], max(0.0, attempt.late_at(deadline) - time.monotonic())).done:
        if time.monotonic() < attempt.late_at(deadline):
            continue  # it connected meanwhile
        attempt.end()
        future.add_done_callback(discard)
        raise UpstreamUnavailable(_reason(attempt, deadline))
    return future.result()


def _reason(attempt: Attempt, deadline: float) -> str:
    if attempt.late_at(deadline) < deadline:
        return f"its name, a connection or TLS takes longer than {CONNECT_SECONDS:.0f} s"
    return "it does not answer in time"


def discard(future: Future[Any]) -> None:
    """Close an answer that came too late."""
    if future.exception() is None and hasattr(answer := future.result(), "close"):
        answer.close()


class _Lines:
    """The lines of a file; last = the one that was read last, b"" where it ended."""

    def __init__(self, file: Any) -> None:
        self.file, self.last = file, b""

    def readline(self, limit: int = -1) -> bytes:
        self.last = self.file.readline(limit)
        return self.last

    def close(self) -> None:
        self.file.close()


class _Response(http.client.HTTPResponse):
    """An answer whose headers came to their end: http.client takes a cut for one."""

    def begin(self) -> None:
        lines = _Lines(self.fp)
        self.fp = cast(Any, lines)
        try:
            super().begin()
        finally:
            if cast(Any, self.fp) is lines:
                self.fp = lines.file
        if not lines.last:
            raise http.client.IncompleteRead(b"")


class _Watched:
    """What our connections add to urllib3's: they belong to an attempt, and grow old."""

    response_class: Any = _Response
    sock: Any
    _used = 0.0

    def connect(self) -> None:
        attempt = getattr(Attempt.current, "value", None)
        if attempt:
            attempt.begin_connecting()
        WIRE.require()
        super().connect()  # type: ignore[misc]
        WIRE.add(self.sock)
        self._used = time.monotonic()

    def getresponse(self, *args: Any, **options: Any) -> Any:
        attempt = getattr(Attempt.current, "value", None)
        if attempt:
            attempt.use(self.sock)
        answer = super().getresponse(*args, **options)  # type: ignore[misc]
        self._used = time.monotonic()
        return answer

    @property
    def is_connected(self) -> bool:
        fresh = time.monotonic() - self._used < IDLE_SECONDS
        return fresh and super().is_connected  # type: ignore[misc]


class _Connection(_Watched, HTTPConnection):
    pass


class _TlsConnection(_Watched, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class Adapter(requests.adapters.HTTPAdapter):
    """requests' adapter with our connections."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """See HTTPAdapter; called when it is made."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """See HTTPAdapter; for requests through an HTTP proxy."""
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        return manager
