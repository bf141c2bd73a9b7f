"""Room: the reserve of bytes and inodes, and a full disk wherever the kernel says so."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from backends import Filesystem, put, read_all
from backends.errors import Full, NotFound, Unavailable
from tests.backends.fake_os import FakeOs

GIB = 1024**3


def _disk(**figures: int) -> Callable[[int], SimpleNamespace]:
    """A disk of 1000 GiB and a million inodes, half free unless told otherwise."""
    status = {"f_frsize": 4096, "f_blocks": 1000 * GIB // 4096, "f_files": 10**6}
    free = {"f_bavail": 500 * GIB // 4096, "f_favail": 500_000}
    return lambda fd: SimpleNamespace(**{**status, **free, **figures})


@pytest.mark.parametrize(
    ("figures", "usable_bytes", "usable_inodes"),
    [
        ({}, 480 * GIB, 480_000),
        ({"f_bavail": 20 * GIB // 4096}, 0, 480_000),
        ({"f_bavail": 20 * GIB // 4096 + 1}, 4096, 480_000),
        ({"f_favail": 20_000}, 480 * GIB, 0),
        ({"f_favail": 1}, 480 * GIB, 0),
        ({"f_blocks": 10 * GIB // 4096, "f_bavail": 2 * GIB // 4096}, GIB, 480_000),
        ({"f_files": 10_000, "f_favail": 1_500}, 480 * GIB, 500),
    ],
)
def test_the_reserve_is_2_percent_and_at_least_1_gib_and_1000_inodes(
    root: Path, fake: FakeOs, figures: dict[str, int], usable_bytes: int, usable_inodes: int
) -> None:
    fake.instead["fstatvfs"] = _disk(**figures)
    space = Filesystem(root).space()
    assert (space.usable_bytes, space.usable_inodes) == (usable_bytes, usable_inodes)
    assert space.full == (0 in (usable_bytes, usable_inodes))


def test_a_file_system_without_inode_counts_has_enough(root: Path, fake: FakeOs) -> None:
    fake.instead["fstatvfs"] = _disk(f_files=0, f_favail=0)
    assert not Filesystem(root).space().full


LOW = [{"f_bavail": GIB // 4096}, {"f_favail": 10}]


@pytest.mark.parametrize("low", LOW, ids=["bytes", "inodes"])
def test_at_the_reserve_large_entries_are_refused_and_small_ones_are_not(
    root: Path, fake: FakeOs, low: dict[str, int]
) -> None:
    """Records of removal must still be written, or a full disk could never be emptied."""
    files = Filesystem(root)
    put(files, "before", b"x" * 100_000)
    fake.instead["fstatvfs"] = _disk(**low)
    files = Filesystem(root)
    put(files, "small", b"x" * 65536)
    for pieces in ([65537], [65536, 1], [1] * 3 + [65536]):
        with pytest.raises(Full), files.create() as writer:
            for piece in pieces:
                writer.write(b"x" * piece)
            writer.commit("large")
    assert os.listdir(root / "tmp") == []
    files.link("before", "linked")
    files.delete("before")
    assert len(read_all(files, "linked", 100_000)) == 100_000


def test_a_disk_that_fills_up_during_a_long_write_is_noticed(
    files: Filesystem, root: Path, fake: FakeOs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.files.CHECK_EVERY_BYTES", 1024 * 1024)
    monkeypatch.setattr("backends.room._MEASURED_FOR_SECONDS", 0.0)
    files = Filesystem(root)
    fake.instead["fstatvfs"] = _disk()
    with pytest.raises(Full), files.create() as writer:
        writer.write(b"x" * 100_000)
        fake.instead["fstatvfs"] = _disk(f_bavail=0)
        for _ in range(30):
            writer.write(b"x" * 100_000)
    assert os.listdir(root / "tmp") == []


def test_room_is_measured_once_a_second_and_recovers_without_restart(
    root: Path, fake: FakeOs, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("backends.room.time", SimpleNamespace(monotonic=lambda: clock[0]))
    files = Filesystem(root)
    fake.instead["fstatvfs"] = _disk(f_bavail=0)
    assert files.space().full
    fake.instead["fstatvfs"] = _disk()
    clock[0] += 0.9
    assert files.space().full
    clock[0] += 0.2
    assert not files.space().full
    assert len(fake.of("fstatvfs")) == 2


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["open", "write", "fsync", "mkdir", "replace"])
def test_no_room_is_full_wherever_it_is_said(
    files: Filesystem, root: Path, fake: FakeOs, call: str, code: int
) -> None:
    files.sweep(0)
    where = "tmp" if call == "open" else ""
    fake.fail(call, code, where=where)
    with pytest.raises(Full):
        put(files, "new/key", b"x")
    assert os.listdir(root / "tmp") == []
    with pytest.raises(NotFound):
        files.stat("new/key")
    put(files, "new/key", b"x")


def test_full_is_never_said_of_what_became_visible(files: Filesystem, fake: FakeOs) -> None:
    fake.fail("fsync", errno.ENOSPC, where="d")
    with pytest.raises(Unavailable):
        put(files, "d/key", b"x")
