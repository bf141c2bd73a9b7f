"""A proxy before a real registry that counts, and does to requests what a test wants."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.upstreams.exchange import Ended, Exchange, Seen
from tests.upstreams.port import Port
from tests.upstreams.wire import read_head

IDLE_SECONDS = 120.0
QUIET_SECONDS = 2.0
Act = Callable[[Exchange], None]


@dataclass(frozen=True)
class Rule:
    """What to do to requests whose `METHOD path` the pattern finds.

    times  how often; -1 = always
    """

    act: Act
    on: str = "."
    times: int = -1


class FaultProxy:
    """A running proxy. Requests that no rule takes are passed on, and their answers back.

    seen     all requests so far, in order
    opened   how many connections were accepted
    last     monotonic time of the last request
    tls      how connections are encrypted; None = not at all. For connections to come
    """

    def __init__(self, backend: tuple[str, int], host: str, tls: ssl.SSLContext | None) -> None:
        self.backend, self.tls = backend, tls
        self.seen: list[Seen] = []
        self.opened, self.last = 0, time.monotonic()
        self.port = Port(self._serve, host)
        self._rules: list[Rule] = []
        self._left: dict[int, int] = {}
        self._lock = threading.Lock()
        self._cut_off = threading.Event()
        self._open: set[socket.socket] = set()

    @property
    def url(self) -> str:
        """scheme://HOST:PORT."""
        return f"{'https' if self.tls else 'http'}://{self.port.host}:{self.port.number}"

    def rule(self, *rules: Rule) -> None:
        """Put these in the place of the rules of before; the first that fits a request counts."""
        with self._lock:
            self._rules = list(rules)
            self._left = {id(rule): rule.times for rule in rules}

    def cut_off(self) -> None:
        """End all connections that are open now."""
        with self._lock:
            self._cut_off.set()
            self._cut_off = threading.Event()
            for connection in list(self._open):
                with contextlib.suppress(OSError):  # it has ended already
                    connection.shutdown(socket.SHUT_RDWR)

    def is_quiet(self) -> bool:
        """Whether nobody has asked for a while: what goes on in the background is over."""
        return time.monotonic() - self.last > QUIET_SECONDS

    def requests(self, pattern: str) -> list[Seen]:
        """Requests so far whose `METHOD path` the pattern finds."""
        return [seen for seen in list(self.seen) if re.search(pattern, seen.line)]

    def sent(self, pattern: str) -> int:
        """Bytes of bodies that such requests were answered with so far."""
        return sum(seen.sent for seen in self.requests(pattern))

    def close(self) -> None:
        """End everything."""
        self.port.close()
        self.cut_off()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self.opened += 1
            cut_off, context = self._cut_off, self.tls
        with contextlib.suppress(Ended, OSError, ValueError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            connection.settimeout(IDLE_SECONDS)
            if context:
                connection = stack.enter_context(context.wrap_socket(connection, server_side=True))
            with self._lock:
                self._open.add(connection)
            stack.callback(self._open.discard, connection)
            stream = stack.enter_context(connection.makefile("rb"))
            while head := read_head(stream):
                body = stream.read(int(head.get("Content-Length", "0")))
                method, path, _ = head.start.split(" ", 2)
                self._answer(
                    Exchange(Seen(method, path, head, body), connection, self.backend, cut_off)
                )

    def _answer(self, exchange: Exchange) -> None:
        self.last = time.monotonic()
        self.seen.append(exchange.seen)
        try:
            self._act(exchange.seen.line)(exchange)
        finally:
            exchange.close()

    def _act(self, line: str) -> Act:
        with self._lock:
            for rule in self._rules:
                if self._left[id(rule)] and re.search(rule.on, line):
                    self._left[id(rule)] -= 1
                    return rule.act
        return pass_on


def pass_on(exchange: Exchange) -> None:
    """The act of a proxy that does no harm."""
    exchange.send_head(exchange.forward())
    exchange.send_rest()


@contextmanager
def fault_proxy(
    backend: tuple[str, int], host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[FaultProxy]:
    """Run a proxy before a backend on a free port of a loopback address."""
    proxy = FaultProxy(backend, host, tls)
    try:
        proxy.port.listen()
        yield proxy
    finally:
        proxy.close()
