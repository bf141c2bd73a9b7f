"""Malformed requests through raw sockets: a clear refusal each, and nothing else happens."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.counts import count
from tests.faults.images import assert_pulls, live, make_image, push
from tests.figures import record
from tests.live import Server
from tests.protocol.raw import exchange, request, status

REQUESTS = count(200, 1000)
DIGEST = "sha256:" + "a" * 64
STATUSES = re.compile(rb"^HTTP/1\.[01] (\d{3})", re.MULTILINE)
NAMES = ("..", "a/../b", "%2e%2e/%2e%2e/etc", "a%00b", "A/B", "a//b", "a" * 300, "_uploads", "a/_x")
NAMES += ("%ff%fe", "a%2fb%5c..", "../../../../tmp/x", "a:b", "\xe4\xf6", "-", ".", "%", "%zz", "")
TAILS = ("manifests/latest", f"blobs/{DIGEST}", "blobs/uploads/", "tags/list", "manifests/..")
TAILS += (
    "blobs/sha256:..",
    "blobs/sha256:" + "A" * 64,
    "manifests/" + "t" * 129,
    f"referrers/{DIGEST}",
)
TAILS += ("blobs/uploads/../../x", "blobs/md5:00", "manifests/%00", "manifests/a%0d%0aX: y")
METHODS = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "TRACE", "get", "", "G\0T", "X" * 5000)
HEADERS = (
    "Content-Length: -1",
    "Content-Length: +5",
    "Content-Length: 5, 5",
    "Content-Length: 4294967296",
    "Content-Length: 99999999999999999999999",
    "Content-Length: 0x10",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding: xchunked",
    "Range: bytes=9-1",
    "Range: bytes=" + "0-1," * 500,
    "Range: items=0-1",
    "Content-Range: bytes 5-1/*",
    "Content-Range: 99999999999999999999-0",
    "Content-Type: \xff\xfe",
    "Expect: 200-maybe",
    "Host: a, b",
    "Host: [::1",
    "Authorization: Basic !!!",
    "If-None-Match: \x01",
    "X: " + "y" * 9000,
    " folded: x",
    "no colon",
    ": empty",
    "Na me: x",
    "Cookie: " + ";" * 3000,
)
BODIES = (b"", b"{", b"\xff\xfe{\x00}\x00", b"[" * 20000, b"5\r\nab", b"zz\r\nab\r\n0\r\n\r\n")
BODIES += (b"-5\r\nabcde\r\n0\r\n\r\n", b"ffffffffffffffff1\r\na\r\n", b"\0" * 3000)


def _composed(rng: random.Random) -> bytes:
    path = f"/v2/{rng.choice(NAMES)}/{rng.choice(TAILS)}"
    path += rng.choice(("", "", "?digest=x", "?n=-1", "?n=9e9", "?digest=%ff", "?mount=..&from=.."))
    headers = rng.sample(HEADERS, rng.randint(0, 3))
    method = rng.choice(METHODS[: rng.choice((6, len(METHODS)))])
    return request(method, path, *headers, body=rng.choice(BODIES))


def _garbled(rng: random.Random) -> bytes:
    """A good request with some bytes changed."""
    good = bytearray(
        request("PUT", "/v2/a/b/manifests/x", "Content-Length: 2", "Content-Type: a/b", body=b"{}")
    )
    for _ in range(rng.randint(1, 8)):
        good[rng.randrange(len(good))] = rng.randrange(256)
    return bytes(good)


def _noise(rng: random.Random) -> bytes:
    starts = (b"", b"\x16\x03\x01\x02\x00\x01", b"GET /v2/", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    return rng.choice(starts) + rng.randbytes(rng.randint(0, 300)) + rng.choice((b"", b"\r\n\r\n"))


KINDS: tuple[Callable[[random.Random], bytes], ...] = (_composed, _composed, _garbled, _noise)


def test_malformed_requests_are_refused_and_change_nothing(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    server = start(tmp_path / "server", "--workers", "2")
    before = _outside(tmp_path, server)
    rng = random.Random("malformed")
    sent = [rng.choice(KINDS)(rng) for _ in range(REQUESTS)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda data: exchange(server, data, end=True), sent))
    codes = [code for answer in answers for code in STATUSES.findall(answer)]
    errors = [
        pair
        for pair in zip(sent, answers, strict=True)
        if any(code >= b"500" for code in STATUSES.findall(pair[1]))
    ]
    tracebacks = server.log.count("Traceback")
    record(
        "R-12",
        f"{REQUESTS} malformed requests through raw sockets",
        "0 answers of 5xx, 0 tracebacks, 0 files outside the root, healthy after",
        f"{len(errors)} answers of 5xx, {tracebacks} tracebacks,"
        f" {len(_outside(tmp_path, server) - before)} files outside; {len(codes)} answers",
    )
    assert errors == []
    assert tracebacks == 0
    assert _outside(tmp_path, server) == before
    image = make_image("healthy")
    push(live(server), "after/all", "x", image)
    assert_pulls(live(server), "after/all", "x", image)


@pytest.mark.parametrize(
    "headers, body",
    [
        (("Transfer-Encoding: chunked",), b"zz\r\n"),
        (("Transfer-Encoding: chunked",), b"5\r\nabcdeXX"),
        (("Transfer-Encoding: chunked", "Content-Length: 4"), b"0\r\n\r\n"),
        (("Content-Length: 3", "Content-Length: 4"), b"abc"),
        (("Transfer-Encoding: xchunked",), b"0\r\n\r\n"),
    ],
)
def test_nothing_is_smuggled_behind_bad_framing(
    server: Server, headers: tuple[str, ...], body: bytes
) -> None:
    first = request("POST", f"/v2/smuggled/blobs/uploads/?digest={DIGEST}", *headers, body=body)
    answer = exchange(server, first + request("GET", "/v2/"), end=True)
    assert STATUSES.findall(answer) in ([b"400"], []), answer
    assert status(answer) != 200


def _outside(directory: Path, server: Server) -> set[str]:
    """Every file beside the server's own: storage/, state/, and a folder for its workers."""
    mine = (server.storage, server.directory / "state", *server.directory.glob("distserver-*"))
    paths = (path for path in directory.rglob("*") if not any(m in path.parents for m in mine))
    return {str(path) for path in paths}
