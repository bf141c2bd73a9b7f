"""An upstream whose every answer a test decides, on a port of its own."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

from distserver.proxy.upstream.auth import Authenticator
from distserver.proxy.upstream.client import Transfer, Transport, new_session
from distserver.proxy.upstream.credentials import Credentials
from distserver.proxy.upstream.registry import UpstreamRegistry


@dataclass(frozen=True)
class Asked:
    """A request as it came; headers by lower-case name."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


Reply = tuple[int, dict[str, str], bytes]
Script = Callable[[Asked], Reply]


@dataclass
class Scripted:
    """A running upstream; `asked` is all that it was asked so far."""

    url: str
    asked: list[Asked] = field(default_factory=list)

    def registry(
        self, session: requests.Session, credentials: Credentials | None = None
    ) -> UpstreamRegistry:
        """A client of it, and of nothing else."""
        return client(session, self.url, credentials)


def client(
    session: requests.Session,
    url: str,
    credentials: Credentials | None = None,
    transport: Transport | None = None,
) -> UpstreamRegistry:
    """A client of one base URL, plain HTTP allowed unless a transport says otherwise."""
    transfer = Transfer(session, transport or Transport(insecure=True))
    return UpstreamRegistry(url, transfer, Authenticator(url, transfer, lambda: credentials))


@contextmanager
def a_session() -> Iterator[requests.Session]:
    """A session as the proxy makes it, closed at the end."""
    with new_session() as session:
        yield session


@contextmanager
def scripted(
    script: Script, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[Scripted]:
    """Serve the script's answers until left. Content-Length is added unless the script sets it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, self.rfile.read(length))
            running.asked.append(asked)
            status, sent, body = script(asked)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **sent}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            if int(sent.get("Content-Length", len(body))) != len(body):
                self.close_connection = True

        do_GET = do_HEAD = do_POST = _serve  # noqa: N815  # names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    running = Scripted(f"{'https' if tls else 'http'}://{host}:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
