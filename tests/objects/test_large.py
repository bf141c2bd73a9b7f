"""Entries of several parts: whole, in bounded memory, and gone when nobody finishes them."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from backends import Backend, put, read_all
from backends.errors import Unavailable
from backends.s3 import writer as writing
from backends.s3.multipart import MIN_PART_BYTES
from tests.backends.conftest import Reopen
from tests.figures import record
from tests.forked import exit_code, fork
from tests.objects.servers import BUCKET, ObjectStore

MIB = 1 << 20
SIZES = [65536, 65537, MIN_PART_BYTES - 1, MIN_PART_BYTES, MIN_PART_BYTES + 1, 20 * MIB + 7]


def objects(store: ObjectStore, backend: Any, kind: str = "") -> list[str]:
    """Names of the storage's objects that hold a text."""
    prefix = backend._place.prefix
    listed = store.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return [one["Key"] for one in listed if kind in one["Key"]]


@pytest.mark.parametrize("size", SIZES)
def test_entries_around_each_limit_come_back(backend: Backend, reopen: Reopen, size: int) -> None:
    data = random.Random(size).randbytes(size)
    with backend.create() as writer:
        for at in range(0, size, 3 * MIB):
            writer.write(memoryview(data)[at : at + 3 * MIB])
        writer.commit("entry")
    assert reopen().stat("entry").size == size
    with reopen().open("entry") as reader:
        assert reader.size == size
        assert hashlib.sha256(reader.read()).digest() == hashlib.sha256(data).digest()
    for start, stop in ((0, 1), (size - 1, size), (size // 2, size // 2 + 100), (size, size)):
        with reopen().open("entry", start, stop) as reader:
            assert reader.read() == data[start:stop]


def test_small_entries_have_one_object_and_large_ones_two(
    store: ObjectStore, backend: Backend
) -> None:
    put(backend, "small", bytes(65536))
    assert objects(store, backend, ".data/") == []
    put(backend, "large", bytes(65537))
    assert len(objects(store, backend, ".data/")) == 1


def test_a_link_names_the_same_data(store: ObjectStore, backend: Backend) -> None:
    put(backend, "large", bytes(MIB))
    before = objects(store, backend, ".data/")
    backend.link("large", "link")
    backend.delete("large")
    assert objects(store, backend, ".data/") == before
    assert backend.stat("link").size == MIB


def test_an_abort_leaves_no_parts(store: ObjectStore, backend: Backend) -> None:
    with backend.create() as writer:
        writer.write(bytes(20 * MIB))
        assert _parts(store, writer)
    assert not _parts(store, writer)
    assert objects(store, backend, ".data/") == []


def _parts(store: ObjectStore, writer: Any) -> bool:
    """Whether the server still has an upload under the writer's name (MinIO lists by name only)."""
    name = writer._client.place.data(writer._id)
    found = store.client().list_multipart_uploads(Bucket=BUCKET, Prefix=name).get("Uploads", [])
    return bool(found)


@pytest.mark.parametrize("limit", ["MAX_UPLOAD_SECONDS", "MAX_NAMING_SECONDS"])
def test_a_pointer_is_not_written_so_late_that_its_data_may_be_gone(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(f"backends.s3.writer.{limit}", -1)
    with pytest.raises(Unavailable, match="given up"):
        put(backend, "large", bytes(MIB))
    assert list(backend.keys("")) == [*backend.keys("_store/")]
    put(backend, "small", b"x")


def test_a_link_is_not_written_late_either(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(backend, "large", bytes(MIB))
    clock = iter([0.0, 2 * 3600.0])
    monkeypatch.setattr("backends.s3.backend.now", lambda: next(clock))
    monkeypatch.setattr(writing, "now", lambda: next(clock))
    with pytest.raises(Unavailable, match="given up"):
        backend.link("large", "link")
    assert "link" not in list(backend.keys(""))


def test_a_child_has_connections_of_its_own(backend: Backend) -> None:
    data = os.urandom(300_000)
    put(backend, "entry", data)
    with backend.open("entry") as reader:
        first = reader.read(1000)
        assert exit_code(fork(lambda: read_all(backend, "entry", 300_000) == data)) == 0
        assert first + reader.read() == data


_UPLOAD = """
import re, sys
from pathlib import Path
from backends import open_backend, put

def memory(line):
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"^{line}:\\s+(\\d+) kB", text, re.MULTILINE)[1])

backend = open_backend(sys.argv[1])
put(backend, "warm", bytes(1 << 20))
block = bytes(range(256)) * 4096
Path("/proc/self/clear_refs").write_text("5")  # from now on VmHWM is the largest since now
before = memory("VmRSS")
with backend.create() as writer:
    for _ in range(256):
        writer.write(block)
    writer.commit("large")
print(memory("VmHWM") - before)
"""


def test_an_upload_takes_little_memory(store: ObjectStore, backend: Any) -> None:
    url = store.url(prefix=backend._place.prefix.strip("/"))
    done = subprocess.run(
        [sys.executable, "-c", _UPLOAD, url],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    grown = int(done.stdout) / 1024
    record(
        "S3",
        f"memory that an upload of 256 MiB takes, {store.name}",
        "at most 64 MB",
        f"{grown:.0f} MB",
    )
    assert 8 < grown < 64, "at least one part is there, at most two and what they need"


def test_large_uploads_at_once_do_not_mix(backend: Backend) -> None:
    def work(number: int) -> bool:
        data = random.Random(number).randbytes(9 * MIB + number)
        with backend.create() as writer:
            for at in range(0, len(data), MIB):
                writer.write(data[at : at + MIB])
            writer.commit(f"entry-{number}")
        with backend.open(f"entry-{number}") as reader:
            return reader.read() == data

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4), timeout=120))
