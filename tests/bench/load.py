"""The clients of the benchmark: wrk for many small answers, raw sockets for large bodies."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

ACCEPT = "application/vnd.oci.image.manifest.v1+json"
TIMEOUT_SECONDS = 120.0
_CHUNK_BYTES = 32 << 10  # what docker sends
_READ_BYTES = 4 << 20
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def wrk(url: str, connections: int, seconds: float) -> tuple[float, float]:
    """GET a URL for some seconds; return (requests, p99 in ms). Raises: RuntimeError on errors.

    An answer that takes more than 10 s is one; by itself wrk counts those of 2 s, which p99 tells.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--latency", "--timeout=10s"]
    text = subprocess.run(
        [*command, "-H", f"Accept: {ACCEPT}", url],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + TIMEOUT_SECONDS,
    ).stdout
    done = re.search(r"(\d+) requests in", text)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    if "Non-2xx" in text or "Socket errors" in text or not done or not p99:
        raise RuntimeError(f"wrk {url}:\n{text}")
    return float(done[1]), float(p99[1]) * _UNITS[p99[2]]


def heads(port: int, path: str, seconds: float) -> float:
    """HEAD a path over and over on one connection; return how many were answered."""
    request = f"HEAD {path} HTTP/1.1\r\nHost: bench\r\nAccept: {ACCEPT}\r\n\r\n".encode()
    done, end = 0, time.monotonic() + seconds
    with _connect(port) as client:
        while time.monotonic() < end:
            client.sendall(request)
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                if not (piece := client.recv(65536)):
                    raise RuntimeError(f"HEAD {path} was cut short")
                answer += piece
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"HEAD {path}: {answer!r}")
            done += 1
    return float(done)


def pull(port: int, path: str, streams: int, size: int) -> float:
    """GET a body of size bytes in each of some streams, throwing it away; return bytes read."""
    return float(size * len(parallel(streams, lambda: first_byte(port, path, size))))


def first_byte(port: int, path: str, size: int) -> float:
    """GET a body of size bytes, throwing it away; return the seconds until its first byte.

    Raises: RuntimeError when bytes are missing, OSError.
    """
    begin, first = time.monotonic(), 0.0
    with _connect(port) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            if not (piece := client.recv(4096)):
                raise RuntimeError(f"GET {path} was cut short: {head!r}")
            head += piece
        header, _, start = head.partition(b"\r\n\r\n")
        left = size - len(start)
        first = time.monotonic() if start else 0.0
        buffer = bytearray(_READ_BYTES)
        while left > 0 and header.startswith(b"HTTP/1.1 200"):
            # MSG_TRUNC: the kernel drops the bytes, so that the client costs next to nothing
            if not (count := client.recv_into(buffer, min(left, _READ_BYTES), socket.MSG_TRUNC)):
                break
            first = first or time.monotonic()
            left -= count
    if left:
        raise RuntimeError(f"GET {path}: {left} bytes missing: {header!r}")
    return first - begin


def parallel(count: int, work: Callable[[], T]) -> list[T]:
    """Do the work count times at once."""
    with ThreadPoolExecutor(count) as pool:
        return [task.result() for task in [pool.submit(work) for _ in range(count)]]


def get(port: int, path: str) -> bytes:
    """GET a body. Raises: RuntimeError if there is none."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        client.request("GET", path, headers={"Accept": ACCEPT})
        answer = client.getresponse()
        body = answer.read()
    finally:
        client.close()
    if answer.status != 200:
        raise RuntimeError(f"GET {path}: {answer.status} {body[:1000]!r}")
    return body


def push(port: int, repository: str, bodies: list[tuple[bytes, str]], chunked: bool) -> float:
    """Push each (body, digest) by a client of its own, all at once; return bytes sent."""
    waiting = list(bodies)
    return sum(parallel(len(bodies), lambda: push_blob(port, repository, *waiting.pop(), chunked)))


def push_blob(port: int, repository: str, body: bytes, digest: str, chunked: bool = False) -> float:
    """Push one blob, as POST, PATCH, PUT when chunked, else as POST, PUT; return its size."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        place = _send(client, "POST", f"/v2/{repository}/blobs/uploads/", b"", 202)
        if chunked:
            place = _send(client, "PATCH", place, _pieces(body), 202)
        mark = "&" if "?" in place else "?"
        _send(client, "PUT", f"{place}{mark}digest={digest}", b"" if chunked else body, 201)
    finally:
        client.close()
    return float(len(body))


def fresh_body(size: int) -> tuple[bytes, str]:
    """Return a body that was never sent before, and its digest."""
    body = os.urandom(1 << 20) * (size >> 20)
    return body, digest_of(body)


def digest_of(body: bytes) -> str:
    """Return the SHA-256 digest of a body."""
    return "sha256:" + hashlib.sha256(body).hexdigest()


def put_manifest(port: int, repository: str, tag: str, body: bytes) -> None:
    """Push a manifest under a tag."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        _send(client, "PUT", f"/v2/{repository}/manifests/{tag}", body, 201)
    finally:
        client.close()


def _send(
    client: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | Iterator[bytes],
    want: int,
) -> str:
    headers = {"Content-Type": ACCEPT if "/manifests/" in path else "application/octet-stream"}
    chunked = not isinstance(body, bytes)
    if chunked:
        headers["Transfer-Encoding"] = "chunked"
    client.request(method, path, body, headers, encode_chunked=chunked)
    answer = client.getresponse()
    text = answer.read(65536)
    if answer.status != want:
        raise RuntimeError(f"{method} {path}: {answer.status} {text!r}")
    target = urlsplit(answer.headers.get("Location", ""))
    return target.path + (f"?{target.query}" if target.query else "")


def _pieces(body: bytes) -> Iterator[bytes]:
    return (body[at : at + _CHUNK_BYTES] for at in range(0, len(body), _CHUNK_BYTES))


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
