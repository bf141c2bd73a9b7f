"""Requests that no library sends: short, silent, contradictory, half."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live import Server, start_server, wait_for
from tests.protocol.images import Repository, sha256
from tests.protocol.raw import connected, exchange, read_all, request, status

GIB4 = 4 << 30


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that cuts what is silent for a second."""
    env = {"DISTSERVER_STALL_TIMEOUT_SECONDS": "1"}
    server = start_server(tmp_path_factory.mktemp("hasty"), "--workers", "1", env=env)
    try:
        yield server
        assert "Traceback" not in server.log
        assert server.stop() == 0
    finally:
        server.kill()


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_BU_24_PY_03_a_short_body_adds_nothing(repo: Repository, method: str) -> None:
    """gunicorn gives the short data in silence; we count."""
    location = repo.begin()
    query = f"?digest={sha256(b'short')}" if method == "PUT" else ""
    data = request(method, location + query, "Content-Length: 1000", body=b"short")
    answer = exchange(repo.server, data, end=True)
    assert (status(answer), b"SIZE_INVALID" in answer) == (400, True)
    assert repo.get(location).headers["Range"] == "0-0"
    assert repo.get(f"blobs/{sha256(b'short')}").status_code == 404


def test_BU_24_chunked_coding_that_breaks_off(repo: Repository) -> None:
    """Without its last chunk it was not whole."""
    location = repo.begin()
    head = request("PATCH", location, "Transfer-Encoding: chunked")
    exchange(repo.server, head + b"5\r\nhello\r\n9\r\nhal", end=True)
    assert repo.get(location).headers["Range"] == "0-0"


def test_PY_02_a_body_that_falls_silent_is_cut(hasty: Server, name: str) -> None:
    """4 GiB announced, five bytes sent: the session stays where it was."""
    repo = Repository(hasty, name)
    location = repo.begin()
    began = time.monotonic()
    exchange(hasty, request("PATCH", location, f"Content-Length: {GIB4}", body=b"hello"))
    assert time.monotonic() - began < 15
    assert repo.get(location).headers["Range"] == "0-0"
    assert repo.patch(location, b"go on", "0-4").status_code == 202


def test_PY_02_a_client_that_takes_nothing_is_cut(hasty: Server, name: str) -> None:
    """The answer ends short of its length, never well."""
    repo = Repository(hasty, name)
    size = 32 << 20
    digest = repo.push_blob(bytes(size))
    with connected(hasty) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        sock.sendall(request("GET", f"/v2/{name}/blobs/{digest}"))
        wait_for(lambda: "takes nothing" in hasty.log or "cut GET" in hasty.log, 15, "cut")
        assert len(read_all(sock)) < size


def test_a_slow_header_is_cut(server: Server) -> None:
    """Slowloris: a request line that never ends."""
    began = time.monotonic()
    assert status(exchange(server, b"GET /v2/ HTTP/1.1\r\nX-A: b")) in (0, 400, 408)
    assert time.monotonic() - began < 19


@pytest.mark.parametrize("hello", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16"])
def test_a_tls_hello_on_a_plain_port_is_refused_at_once(server: Server, hello: bytes) -> None:
    """podman and skopeo try TLS first and would wait; docker goes on plain only after an answer."""
    began = time.monotonic()
    assert exchange(server, hello).startswith(b"HTTP/1.0 400 ")
    assert time.monotonic() - began < 4


SMUGGLED = [
    ("Content-Length: 5", "Transfer-Encoding: chunked"),
    ("Transfer-Encoding: chunked", "Content-Length: 5"),
    ("Content-Length: 5", "Content-Length: 6"),
    ("Content-Length: +5",),
    ("Content-Length: 0x5",),
    ("Content-Length: -1",),
    ("Transfer-Encoding: xchunked",),
    ("Transfer-Encoding: chunked, chunked",),
    ("Transfer-Encoding : chunked",),
]


@pytest.mark.parametrize("headers", SMUGGLED)
def test_PY_10_contradictory_lengths_are_refused(
    repo: Repository, headers: tuple[str, ...]
) -> None:
    """One answer and the connection ends: nothing behind it is taken for a request."""
    location = repo.begin()
    body = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = exchange(repo.server, request("PATCH", location, *headers, body=body), end=True)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert status(answer) in (0, 400, 501)
    assert repo.get(location).headers["Range"] == "0-0"


@pytest.mark.parametrize(
    "chunks", [b"zz\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n"]
)
def test_bad_chunk_framing_adds_nothing(repo: Repository, chunks: bytes) -> None:
    """Never a 500."""
    location = repo.begin()
    data = request("PATCH", location, "Transfer-Encoding: chunked", body=chunks)
    assert status(exchange(repo.server, data, end=True)) in (0, 400)
    assert repo.get(location).headers["Range"] == "0-0"


def test_PY_06_a_pull_that_is_cut_leaves_the_server_well(repo: Repository) -> None:
    """The client may go on with a range."""
    data = bytes(range(256)) * (1 << 15)
    path = f"/v2/{repo.name}/blobs/{repo.push_blob(data)}"
    with connected(repo.server) as sock:
        sock.sendall(request("GET", path))
        assert sock.recv(1000)
    rest = repo.get(path, headers={"Range": "bytes=1000-"})
    assert (rest.status_code, rest.content) == (206, data[1000:])


TRAVERSALS = [
    "/v2/../../etc/passwd",
    "/v2/%2e%2e/%2e%2e/manifests/x",
    "/v2/a/blobs/..%2f..%2f_store",
    "/v2/a/manifests/..",
    "/v2/a/manifests/%2e%2e%2fx",
    "/v2/a/manifests/x%00y",
    "/v2/a/blobs/sha256:%00",
    "/v2/a/blobs/uploads/..%2f..%2fx",
    "/v2/a%00b/tags/list",
    "/v2/a/%ff%fe/tags/list",
    "/v2/a/blobs/sha256:" + "../" * 20,
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_PY_05_paths_are_never_joined(server: Server, path: str) -> None:
    """The grammar is the only gate, whatever the coding."""
    answer = exchange(server, request("GET", path, "Connection: close"))
    assert status(answer) in (400, 404)
    assert b'"errors"' in answer


def test_a_storage_that_is_missing_comes_back(
    start: Callable[..., Server], name: str, tmp_path: Path
) -> None:
    """Unready and 503, never 404, which clients would take for an answer."""
    first = start(tmp_path / "server", "--workers", "1")
    digest = Repository(first, name).push("v1")
    first.stop()
    first.storage.rename(tmp_path / "away")
    server = start(tmp_path / "server", "--workers", "1")
    repo = Repository(server, name)
    assert server.request("GET", "/readyz").status_code == 503
    for path in ("manifests/v1", f"manifests/{digest}", f"blobs/{sha256(b'x')}", "tags/list"):
        answer = repo.get(path)
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert repo.ask("POST", "blobs/uploads/").status_code == 503
    (tmp_path / "away").rename(server.storage)
    wait_for(lambda: server.request("GET", "/readyz").status_code == 200, 15, "readiness")
    assert repo.get("manifests/v1").headers["Docker-Content-Digest"] == digest
