"""A stand-in of the Kubernetes API: pods, over HTTPS on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.proxy.tls import authority, issued, server_context

TOKEN = "a token"


@dataclass
class Api:
    """What the stand-in has.

    account  directory with token and ca.crt, as a pod has it
    page     pods a page
    status   that it answers everything with; 0 = it works
    """

    account: Path
    pods: list[dict[str, object]] = field(default_factory=list)
    page: int = 2
    status: int = 0
    asked: list[str] = field(default_factory=list)
    port: int = 0

    def answer(self, path: str, token: str | None) -> tuple[int, bytes]:
        """Answer a request."""
        self.asked.append(path)
        if self.status or token != f"Bearer {TOKEN}":
            return self.status or 401, b"{}"
        query = parse_qs(urlsplit(path).query)
        start = int(query.get("continue", ["0"])[0])
        more = str(start + self.page) if start + self.page < len(self.pods) else ""
        items = self.pods[start : start + self.page]
        return 200, json.dumps({"metadata": {"continue": more}, "items": items}).encode()


def pod(*images: str, ids: tuple[str, ...] = ()) -> dict[str, object]:
    """A pod that was asked to run images, and says which digests it runs."""
    statuses = [{"image": "sha256:0", "imageID": each} for each in ids]
    containers = [{"image": each} for each in images]
    return {"spec": {"containers": containers}, "status": {"containerStatuses": statuses}}


@contextmanager
def kubernetes(directory: Path) -> Iterator[Api]:
    """Lend the API server of a cluster."""
    directory.mkdir(parents=True, exist_ok=True)
    ca = authority(directory, "ca")
    api = Api(directory)
    (directory / "token").write_text(TOKEN + "\n")
    (directory / "ca.crt").write_bytes(ca.cert.read_bytes())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = api.answer(self.path, self.headers.get("Authorization"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = server_context(issued(directory, ca, "server", "IP:127.0.0.1"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    api.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
