"""Questions to upstreams that dawdle: each has one deadline, and leaves nothing behind."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from distserver.oci.names import Tag
from distserver.proxy.background import in_background
from distserver.proxy.upstream import attempt
from distserver.proxy.upstream.attempt import WIRE, bounded
from distserver.proxy.upstream.errors import UpstreamUnavailable
from tests.live import wait_for
from tests.proxy.scripted import a_session, client

LATEST = Tag("latest")


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with a_session() as made:
        yield made


@contextmanager
def dripping(drop: bytes, every: float) -> Iterator[tuple[str, threading.Event]]:
    """A server that begins an answer and goes on drop by drop; the event: its client left."""
    left, over = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                try:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
                    while not over.wait(every):
                        connection.sendall(drop)
                except OSError:
                    left.set()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", left
        finally:
            over.set()
            thread.join(10)


def test_headers_that_drip_have_an_end(session: requests.Session) -> None:
    """The limit of silence never bites; the deadline does, and the connection is closed."""
    with dripping(b"x", 0.02) as (url, left):
        registry, begun = client(session, url), time.monotonic()
        with pytest.raises(UpstreamUnavailable, match="in time"):
            bounded(lambda: registry.resolve("a", LATEST), 0.3)
        assert time.monotonic() - begun < 3
        assert left.wait(5)


def test_a_server_that_accepts_and_never_answers(session: requests.Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UpstreamUnavailable, match="in time"):
            bounded(lambda: client(session, url).resolve("a", LATEST), 0.2)


def test_a_name_server_that_is_away_has_a_deadline_of_its_own(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "CONNECT_SECONDS", 0.2)
    gone = threading.Event()

    def resolve(*_: object, **__: object) -> object:
        gone.wait(20)
        raise socket.gaierror("too late")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(UpstreamUnavailable, match="its name"):
        bounded(lambda: client(session, "http://up.site").resolve("a", LATEST), 30)
    gone.set()


def test_an_answer_that_comes_too_late_is_closed() -> None:
    closed, go = threading.Event(), threading.Event()

    class Late:
        def close(self) -> None:
            closed.set()

    def question() -> Late:
        go.wait(20)
        return Late()

    with pytest.raises(UpstreamUnavailable):
        bounded(question, 0.05)
    go.set()
    assert closed.wait(10)


def test_what_the_question_raises_is_raised() -> None:
    def question() -> None:
        raise ValueError("as it is")

    with pytest.raises(ValueError, match="as it is"):
        bounded(question, 5)


def test_nothing_is_left_running(session: requests.Session) -> None:
    with dripping(b"x", 0.02) as (url, _), pytest.raises(UpstreamUnavailable):
        bounded(lambda: client(session, url).resolve("a", LATEST), 0.1)
    running = lambda: [t for t in threading.enumerate() if t.name == "ask an upstream"]  # noqa: E731
    wait_for(lambda: not running(), 10, "end of the question")


def test_no_traffic_means_none(session: requests.Session) -> None:
    """What waits is cut, and nothing new is opened until it is allowed."""
    with dripping(b"x", 0.02) as (url, left):
        registry = client(session, url)
        failed = in_background(lambda: bounded(lambda: registry.resolve("a", LATEST), 30), "test")
        wait_for(lambda: any(s.fileno() >= 0 for s in WIRE._sockets), 10, "connection")
        WIRE.cut()
        try:
            with pytest.raises(UpstreamUnavailable):
                failed.result(5)
            assert left.wait(5)
            with socket.create_server(("127.0.0.1", 0)) as server:
                quiet = f"http://127.0.0.1:{server.getsockname()[1]}"
                with pytest.raises(UpstreamUnavailable):
                    bounded(lambda: client(session, quiet).resolve("a", LATEST), 5)
                server.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    server.accept()
        finally:
            WIRE.allow()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nA: b\r\n"])
def test_headers_that_break_off_are_no_answer(session: requests.Session, head: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        registry = client(session, f"http://127.0.0.1:{server.getsockname()[1]}")
        failed = in_background(lambda: registry.resolve("a", LATEST), "test")
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(head)
        with pytest.raises(UpstreamUnavailable, match="broke off"):
            failed.result(10)
