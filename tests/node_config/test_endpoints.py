"""Which URLs are endpoints, and whether a registry answers there."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from distserver.nodes.endpoints import Answer, Endpoint, ask, endpoints_of, parse_endpoint
from tests.live import Server, wait_for


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://10.0.0.5:5000", "http://10.0.0.5:5000"),
        ("https://Registry.Ship.example/", "https://registry.ship.example"),
        ("http://[fd00::1]:5000", "http://[fd00::1]:5000"),
        ("http://localhost:30500/", "http://localhost:30500"),
    ],
)
def test_an_endpoint(url: str, text: str) -> None:
    assert str(parse_endpoint(url)) == text


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "10.0.0.5:5000",
            "ftp://a:1",
            "http://",
            "http://a:b",
            "http://a:99999",
            "http://a b",
        ),
        *(
            "http://u:p@a:5000",
            "http://a/v2",
            "http://a?x=1",
            "http://a#x",
            'http://a"b',
            "http://ä",
        ),
        *("http://-a", "http://a:"),
    ],
)
def test_no_endpoint(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_endpoint(url)
    assert endpoints_of([url, "http://a:1", "http://a:1"]) == (Endpoint("http", "a:1"),)


@pytest.fixture
def serve() -> Iterator[Callable[..., Endpoint]]:
    """Serve one answer to every GET: serve(status, header...)."""
    servers: list[ThreadingHTTPServer] = []

    def go(status: int, **headers: str) -> Endpoint:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        servers.append(server)
        return parse_endpoint(f"http://127.0.0.1:{server.server_port}")

    yield go
    for server in servers:
        server.shutdown()
        server.server_close()


VERSION = {"Docker_Distribution_API_Version": "registry/2.0"}


def test_a_registry_answers_also_one_that_wants_a_name(serve: Callable[..., Endpoint]) -> None:
    both = [serve(200, **VERSION), serve(401, **VERSION)]
    assert [answer.problem for answer in ask(both).values()] == ["", ""]


def test_a_server_of_ours_tells_its_trouble(start: Callable[..., Server]) -> None:
    server = start(None, "--workers", "1")
    endpoint = parse_endpoint(server.url)
    assert ask([endpoint])[endpoint] == Answer()
    server.storage.rename(server.directory / "gone")
    wait_for(lambda: ask([endpoint])[endpoint].trouble, 10, "trouble")
    assert ask([endpoint])[endpoint].problem == ""


def test_what_is_no_registry(serve: Callable[..., Endpoint]) -> None:
    portal, broken = serve(200), serve(503, **VERSION)
    answers = ask([portal, broken])
    assert "no registry (200" in answers[portal].problem
    assert "no registry (503" in answers[broken].problem


def test_silence_ends_for_all_at_once() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        silent = [parse_endpoint(f"http://127.0.0.1:{s.getsockname()[1]}") for s in (one, two)]
        begin = time.monotonic()
        answers = ask(silent, seconds=0.3)
        assert time.monotonic() - begin < 2
    assert all(answer.problem for answer in answers.values())


def test_what_knows_no_deadline_does_not_hold_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """As looking up a name does."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(10) and [])
    endpoint = parse_endpoint("http://name.example:5000")
    begin = time.monotonic()
    assert ask([endpoint], seconds=0.2)[endpoint].problem == "no answer in time"
    assert time.monotonic() - begin < 5
    over.set()


def test_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (answer,) = ask([parse_endpoint(f"http://127.0.0.1:{port}")]).values()
    assert answer.problem == "Connection refused"
