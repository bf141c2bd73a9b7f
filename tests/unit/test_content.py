"""Content: nothing wrong is ever completed, and what was found damaged can be mended."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from backends import Filesystem, Memory, initialise, put
from backends.errors import Corrupt
from distserver.oci.digests import Digest
from distserver.oci.errors import BlobUnknown, DigestInvalid
from distserver.registry import Registry, layout, local_registry
from distserver.registry.content import Content
from distserver.registry.hashes import Hashes

DATA = random.Random(1).randbytes(3_500_000)
D = Digest.of(DATA)


@pytest.fixture
def files(tmp_path: Path) -> Registry:
    backend = Filesystem(str(tmp_path), reserve_bytes=0)
    initialise(backend)
    registry = local_registry(backend)
    registry.blobs.put("a", D, [DATA])
    return registry


def _flip(registry: Registry, at: int) -> None:
    assert isinstance(registry.backend, Filesystem)
    path = Path(registry.backend.local_path(layout.blob(D)))
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize("sizes", [[3_500_000], [1, 2, 999_997, 2_500_000], [100_000] * 35])
def test_hashes_do_not_depend_on_how_the_stream_is_cut(sizes: list[int]) -> None:
    hashes, at = Hashes(), 0
    for size in sizes:
        hashes.update(DATA[at : at + size])
        at += size
    whole = Hashes()
    whole.update(DATA)
    assert (hashes.digest, hashes.chunks) == (D, whole.chunks)
    assert len(hashes.chunks) == 4 * 32


def test_wrong_bytes_are_not_stored() -> None:
    backend = Memory()
    with pytest.raises(DigestInvalid):
        Content(backend).put(D, [b"other"])
    assert list(backend.keys("")) == []


@pytest.mark.parametrize("start", [0, 1, 1 << 20, 3_400_000])
def test_ranges_are_the_bytes_of_the_range(files: Registry, start: int) -> None:
    with files.blobs.open("a", D, start, start + 1000) as reader:
        assert reader.read() == DATA[start : start + 1000]


@pytest.mark.parametrize("at", [0, 2_000_000, 3_499_999])
def test_a_flipped_bit_never_gives_a_whole_body(files: Registry, at: int) -> None:
    _flip(files, at)
    received = b""
    with pytest.raises(Corrupt), files.blobs.open("a", D) as reader:
        while data := reader.read(1 << 20):
            received += data
    assert len(received) < len(DATA)


def test_a_range_beside_the_damage_is_served_and_one_over_it_is_not(files: Registry) -> None:
    _flip(files, 2_000_000)
    with files.blobs.open("a", D, 3_200_000, 3_300_000) as reader:
        assert reader.read() == DATA[3_200_000:3_300_000]
    with pytest.raises(Corrupt):
        files.blobs.open("a", D, 1_500_000, 2_100_000).read()


def test_what_was_found_damaged_counts_as_absent_for_pushes_until_mended(files: Registry) -> None:
    _flip(files, 10)
    assert files.blobs.has("a", D)
    with pytest.raises(Corrupt), files.blobs.open("a", D) as reader:
        while reader.read(1 << 20):
            pass
    other = local_registry(files.backend)  # another worker
    assert not other.blobs.has("a", D)
    assert not other.blobs.mount("b", D, "a")
    with pytest.raises(Corrupt):
        other.blobs.size("a", D)
    with pytest.raises(BlobUnknown):
        other.blobs.size("b", D)
    other.blobs.put("a", D, [DATA])
    assert files.blobs.size("a", D) == len(DATA)
    with files.blobs.open("a", D) as reader:
        assert reader.read() == DATA


def test_an_older_alarm_says_nothing_of_a_newer_copy(files: Registry) -> None:
    files.content.corrupt(D)
    assert not files.blobs.has("a", D)
    assert isinstance(files.backend, Filesystem)
    os.utime(files.backend.local_path(layout.blob(D)), (1, 1))
    assert files.blobs.has("a", D)


def test_an_alarm_about_a_copy_that_is_proved_is_over(files: Registry) -> None:
    files.content.corrupt(D)
    files.content.proved(D)
    assert files.blobs.has("a", D)
    assert list(files.backend.keys("hints/")) == []


def test_wrong_chunk_hashes_do_not_hinder(files: Registry) -> None:
    put(files.backend, layout.chunks(D), b"\0" * 128)
    with files.blobs.open("a", D, 2_000_000, 2_000_010) as reader:
        assert reader.read() == DATA[2_000_000:2_000_010]
