"""Requests that no library sends: short, silent, contradictory, half."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live import Server, wait_for
from tests.protocol.images import Repository, sha256
from tests.protocol.raw import connected, exchange, request, status

GIB4 = 4 << 30


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
    assert time.monotonic() - began < 9
    assert repo.get(location).headers["Range"] == "0-0"
    assert repo.patch(location, b"go on", "0-4").status_code == 202


def test_PY_02_a_client_that_takes_nothing_is_cut(hasty: Server, name: str) -> None:
    """The answer ends short of its length, never well; the server goes on."""
    repo = Repository(hasty, name)
    size = 16 << 20
    digest = repo.push_blob(bytes(size))
    with connected(hasty, window=4096) as sock:
        sock.sendall(request("GET", f"/v2/{name}/blobs/{digest}"))
        wait_for(lambda: f"cut GET /v2/{name}/blobs/" in hasty.log, 15, "cut")
        assert f"name={name} digest={digest} status=200 bytes={size}" not in hasty.log
    assert repo.ask("HEAD", f"blobs/{digest}").status_code == 200


def test_a_slow_header_is_cut(hasty: Server) -> None:
    """Slowloris: a request line that never ends."""
    began = time.monotonic()
    assert status(exchange(hasty, b"GET /v2/ HTTP/1.1\r\nX-A: b")) in (0, 400, 408)
    assert time.monotonic() - began < 9


def test_a_header_that_drips_is_cut(hasty: Server) -> None:
    """Never silent for long, and never at its end: one deadline bounds all headers."""
    with connected(hasty) as sock:
        sock.sendall(b"GET /v2/ HTTP/1.1\r\nX-A: ")
        sock.settimeout(0.2)
        wait_for(lambda: _is_closed_after_a_drop(sock), 9, "end of the connection")


@pytest.mark.parametrize("hello", [b"\x16", b"\x16\x03\x01\x02\x00\x01"])
def test_a_tls_handshake_that_stops_is_cut(secured: Server, hello: bytes) -> None:
    """It held a thread for ever: sixteen of them a worker."""
    began = time.monotonic()
    assert status(exchange(secured, hello)) == 0
    assert time.monotonic() - began < 9


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


@pytest.mark.files
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
    assert server.request("GET", "/v2/").status_code == 200  # else clients see no registry at all
    for path in ("manifests/v1", f"manifests/{digest}", f"blobs/{sha256(b'x')}", "tags/list"):
        answer = repo.get(path)
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert repo.ask("POST", "blobs/uploads/").status_code == 503
    (tmp_path / "away").rename(server.storage)
    wait_for(lambda: server.request("GET", "/readyz").status_code == 200, 15, "readiness")
    assert repo.get("manifests/v1").headers["Docker-Content-Digest"] == digest


def _is_closed_after_a_drop(sock: socket.socket) -> bool:
    try:
        sock.sendall(b"b")
        return not sock.recv(1)
    except TimeoutError:
        return False
    except (ConnectionResetError, BrokenPipeError):
        return True
