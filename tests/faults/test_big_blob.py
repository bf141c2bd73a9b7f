"""Blobs much larger than memory may hold, several at once: a worker stays small, TMPDIR empty."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.counts import count
from tests.figures import record
from tests.live import Server

pytestmark = [pytest.mark.fault, pytest.mark.slow]

MIB = 1 << 20
SIZE = count(256, 2048) * MIB
PARALLEL = count(4, 8)
MAX_RSS_MIB = 200
TIMEOUT_SECONDS = 600


class Blob:
    """SIZE bytes that are cheap to make: one random MiB, numbered, again and again."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._block = random.Random(seed).randbytes(MIB - 8)

    def __iter__(self) -> Iterator[bytes]:
        for i in range(SIZE // MIB):
            yield i.to_bytes(8, "big") + self._block


class Watch:
    """Peaks of a server's workers, taken while the transfers go on."""

    def __init__(self, server: Server) -> None:
        self._workers = server.workers()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.temporaries: set[str] = set()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def peak_mib(self) -> int:
        """Largest resident set that any worker ever had."""
        return max(_high_water(pid) for pid in self._workers)

    def _look(self) -> None:
        while not self._stop.wait(0.2):
            for pid in self._workers:
                self.temporaries.update(_deleted_files(pid))


def _high_water(pid: int) -> int:
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match
    return int(match[1]) // 1024


def _deleted_files(pid: int) -> Iterator[str]:
    """Open files of a process that no name leads to: what tempfile.TemporaryFile makes."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue
        # gunicorn's heartbeat of a worker, an empty file; the guard's board, a few bytes
        known = "wgunicorn" in target or target.startswith("/memfd:guard")
        if target.endswith("(deleted)") and not known:
            yield target


@pytest.fixture
def server(tmp_path: Path, start: Callable[..., Server]) -> Iterator[Server]:
    """A server whose system's temporary folder is an empty directory of its own."""
    (tmp_path / "temporary").mkdir()
    if shutil.disk_usage(tmp_path).free < 2 * SIZE * PARALLEL:
        pytest.fail("no room for this test")
    env = {"TMPDIR": str(tmp_path / "temporary")}
    server = start(None, "--workers", "2", env=env)
    yield server
    assert server.stop() == 0
    shutil.rmtree(server.storage)


def push(server: Server, blob: Blob) -> str:
    """Push in one PATCH, chunked or with a length in turn; return the digest."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_SECONDS)
    try:
        session = _ask(connection, "POST", "/v2/big/blobs/uploads/", 202)["Location"]
        whole = hashlib.sha256()
        length = {"Content-Length": str(SIZE)} if blob.seed % 2 else {}
        _ask(connection, "PATCH", session, 202, _hashed(blob, whole), length)
        digest = "sha256:" + whole.hexdigest()
        _ask(connection, "PUT", f"{session}?digest={digest}", 201)
        return digest
    finally:
        connection.close()


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    wanted: int,
    body: object = None,
    headers: dict[str, str] | None = None,
) -> http.client.HTTPMessage:
    chunked = body is not None and not headers
    connection.request(method, path, body, headers or {}, encode_chunked=chunked)  # type: ignore[arg-type]
    response = connection.getresponse()
    assert (response.status, response.read()) == (wanted, b"")
    return response.headers


def _hashed(blob: Blob, whole: hashlib._Hash) -> Iterator[bytes]:
    for data in blob:
        whole.update(data)
        yield data


def pull(server: Server, digest: str) -> str:
    """Pull and return the digest of what came."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", f"/v2/big/blobs/{digest}")
        response = connection.getresponse()
        assert response.status == 200
        whole = hashlib.sha256()
        while data := response.read(MIB):
            whole.update(data)
        return "sha256:" + whole.hexdigest()
    finally:
        connection.close()


def test_big_blobs_in_parallel(server: Server, tmp_path: Path) -> None:
    """R-14: pushed at once, pulled at once twice: through the hash, then by sendfile."""
    started = time.monotonic()
    with Watch(server) as watch, ThreadPoolExecutor(PARALLEL) as pool:
        digests = list(pool.map(lambda seed: push(server, Blob(seed)), range(PARALLEL)))
        assert len(set(digests)) == PARALLEL
        for _ in range(2):
            assert list(pool.map(lambda digest: pull(server, digest), digests)) == digests
        peak = watch.peak_mib
    assert peak < MAX_RSS_MIB
    assert watch.temporaries == set()
    assert [p for p in (tmp_path / "temporary").rglob("*") if "wgunicorn" not in p.name] == []
    assert "Traceback" not in server.log
    seconds = time.monotonic() - started
    record(
        "R-14",
        f"{PARALLEL} blobs of {SIZE // MIB} MiB pushed and pulled twice, all at once, 2 workers",
        "RSS of a worker < 200 MiB, nothing in the system's temporary folder",
        f"peak RSS {peak} MiB, no temporary; {seconds:.0f} s, every digest equal",
    )
