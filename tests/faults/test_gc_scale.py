"""The collector on a large storage: how long it looks, what memory it takes, whom it disturbs."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from backends import initialise, open_backend
from distserver.oci.digests import Digest
from distserver.registry import layout
from tests.counts import count
from tests.faults.images import Call, digest_of, live, make_image, push
from tests.figures import record
from tests.live import Server, storage_flags

MANIFESTS, BLOBS_EACH = count(100, 200_000), 5
GARBAGE = MANIFESTS // 100
PER_REPOSITORY = 500
BASE_SECONDS = count(0.5, 60.0)
NONCE = "0123456789abcdef"
pytestmark = pytest.mark.fault


@pytest.mark.slow
def test_a_large_storage_is_collected_beside_pulls(
    tmp_path: Path, start: Callable[..., Server]
) -> None:
    storage = tmp_path / "storage"
    storage.mkdir()
    initialise(open_backend(str(storage)))
    _fill(storage)
    server = start(
        None, "--workers", "2", storage=storage, env={"DISTSERVER_GC_INTERVAL_SECONDS": "0"}
    )
    push(live(server), "a/b", "v1", image := make_image("pulled", 10_000))
    path = f"/v2/a/b/blobs/{digest_of(image.layer)}"
    with _Pulling(live(server), path) as pulling:
        time.sleep(BASE_SECONDS)
        before = pulling.p99()
        seconds, memory = _collect(server, storage)
        meanwhile = pulling.p99()
        time.sleep(BASE_SECONDS)
        after = pulling.p99()
    base = statistics.mean((before, after))
    assert not list(storage.glob("trash/*/*/*"))
    record(
        "200,000 manifests, 1 M blobs",
        f"`distserver gc` over {MANIFESTS} manifests and {MANIFESTS * BLOBS_EACH} blobs, {GARBAGE}"
        " of them garbage, in a directory, beside pulls of 10 KB",
        "mark < 10 min, RSS < 512 MiB, foreground p99 + < 10 %",
        f"both looks and the purge {seconds:.0f} s, RSS {memory >> 20} MiB, p99"
        f" {1000 * base:.1f} ms without and {1000 * meanwhile:.1f} ms with it"
        f" ({100 * (meanwhile / base - 1):+.0f} %)",
    )


class _Pulling:
    """One client that pulls all the time, and how long each pull took."""

    def __init__(self, call: Call, path: str) -> None:
        self._call, self._path = call, path
        self._taken: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> _Pulling:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def p99(self) -> float:
        """Of the pulls since the last question, in seconds."""
        taken, self._taken = self._taken, []
        return statistics.quantiles(taken, n=100)[-1]

    def _run(self) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            assert self._call("GET", self._path).status == 200
            self._taken.append(time.monotonic() - begun)
            self._stop.wait(0.005)


def _collect(server: Server, storage: Path) -> tuple[float, int]:
    """Run the command as servers do; return its seconds and its most memory in bytes."""
    flags = [*storage_flags(storage), "--state", str(server.directory / "state")]
    env = {f"DISTSERVER_GC_{name}_SECONDS": "0" for name in ("GRACE", "HOLD", "SETTLE")}
    command = [sys.executable, "-m", "distserver", "gc", *flags]
    with subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.PIPE) as child:
        os.setpriority(os.PRIO_PROCESS, child.pid, 19)
        assert child.stdout
        told = child.stdout.read().decode()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, told
    found = re.search(r"looked at in ([0-9.]+) s", told)
    assert found and f"{MANIFESTS + 1} manifests" in told, told
    assert f"{GARBAGE} contents" in told.partition("purged")[0].splitlines()[-1], told
    return float(found[1]), used.ru_maxrss << 10


def _fill(storage: Path) -> None:
    """Write files as pushes leave them, without waiting for the disk."""
    numbers = range(0, MANIFESTS, PER_REPOSITORY)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_fill_repository, [storage] * len(numbers), numbers))


def _fill_repository(storage: Path, first: int) -> None:
    name = f"large/{first // PER_REPOSITORY}"
    for number in range(first, min(first + PER_REPOSITORY, MANIFESTS)):
        blobs = [f"{number} {part}".encode() for part in range(BLOBS_EACH)]
        body = _manifest(blobs)
        for data in (*blobs, body):
            _write(storage / layout.blob(Digest.of(data)), data)
        for data in blobs:
            _write(storage / (layout.blob_records(name, Digest.of(data)) + NONCE), b"")
        _write(storage / (layout.manifest_records(name, Digest.of(body)) + NONCE), b"{}")
        if number < GARBAGE:
            garbage = f"garbage {number}".encode()
            _write(storage / layout.blob(Digest.of(garbage)), garbage)


def _manifest(blobs: list[bytes]) -> bytes:
    rows = [
        {"mediaType": "application/octet-stream", "digest": digest_of(data), "size": len(data)}
        for data in blobs
    ]
    kind = "application/vnd.oci.image.manifest.v1+json"
    value = {"schemaVersion": 2, "mediaType": kind, "config": rows[0], "layers": rows[1:]}
    return json.dumps(value).encode()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
