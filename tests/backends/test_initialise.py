"""Giving a storage its identity, and reading it: only what is entirely empty is ours to take."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from backends import Backend, Filesystem, Memory, initialise, open_backend, put, store_ids
from backends.errors import Full, Unavailable
from tests.backends.conftest import Reopen
from tests.backends.fake_os import FakeOs


def test_initialise_gives_one_identity_and_keeps_it(backend: Backend, reopen: Reopen) -> None:
    first = initialise(backend)
    assert initialise(reopen()) == first
    assert first in store_ids(reopen())


def test_initialise_only_when_entirely_empty(tmp_path: Path) -> None:
    (tmp_path / "somebody").mkdir()
    (tmp_path / "somebody" / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="not ours"):
        initialise(Filesystem(tmp_path))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "somebody"]


def test_initialise_of_a_memory_with_entries_is_refused() -> None:
    backend = Memory()
    put(backend, "entry", b"x")
    with pytest.raises(Unavailable):
        initialise(backend)


def test_a_new_mount_counts_as_empty(tmp_path: Path) -> None:
    """Also a start that was cut short, which leaves empty directories."""
    for name in ("lost+found", "tmp", "_store", "a/b/c", ".snapshot"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".nfs0001").write_bytes(b"")
    (tmp_path / "tmp" / "left").write_bytes(b"")
    assert initialise(Filesystem(tmp_path, reserve_bytes=0))


@pytest.mark.parametrize("kind", ["symbolic link", "pipe", "dangling link"])
def test_anything_foreign_counts_as_not_empty(tmp_path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(tmp_path / "x")
    else:
        (tmp_path / "x").symlink_to("/" if kind == "symbolic link" else "nowhere")
    with pytest.raises(Unavailable):
        initialise(Filesystem(tmp_path))


def _mark(root: Path, name: str, data: bytes) -> None:
    (root / "_store").mkdir(exist_ok=True)
    (root / "_store" / name).write_bytes(data)


@pytest.mark.parametrize("version", [0, 2, "1", 1.5, [1]])
def test_an_unknown_format_is_refused_loudly(root: Path, version: object) -> None:
    """Even beside an identity that is known: something newer has written here."""
    _mark(root, "newer", json.dumps({"format": version}).encode())
    for act in (lambda: Filesystem(root).stat("x"), lambda: initialise(Filesystem(root))):
        with pytest.raises(Unavailable, match="format"):
            act()


DAMAGED = {
    "empty": b"",
    "garbage": b"\xff\xfe\x00",
    "list": b"[1]",
    "no version": b"{}",
    "cut": b'{"format"',
    "nested": b"[" * 4000,
    "large": b'{"format": 1}' + b" " * 5000 + b"x",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_marker_counts_for_nothing(root: Path, tmp_path: Path, damage: str) -> None:
    ids = store_ids(Filesystem(root))
    _mark(root, "0-damaged", DAMAGED[damage])
    assert store_ids(Filesystem(root)) == ids
    Filesystem(root).space()
    alone = tmp_path / "alone"
    alone.mkdir()
    _mark(alone, "0-damaged", DAMAGED[damage])
    with pytest.raises(Unavailable):
        Filesystem(alone).space()


def test_several_identities_are_harmless(root: Path) -> None:
    (first,) = store_ids(Filesystem(root))
    _mark(root, "second", b'{"format": 1}')
    assert store_ids(Filesystem(root)) == {first, "second"}
    for store_id in (first, "second"):
        Filesystem(root, expected_id=store_id).space()


@pytest.mark.parametrize("kind", ["pipe", "symbolic link", "directory"])
def test_what_is_no_file_is_no_marker_and_hangs_nobody(root: Path, kind: str) -> None:
    place = root / "_store" / "0"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    else:
        place.symlink_to(next((root / "_store").iterdir()))
    assert Filesystem(root).space()
    assert "0" not in store_ids(Filesystem(root))


def test_a_write_of_the_identity_that_finds_no_room_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeOs(str(tmp_path)).install(monkeypatch)
    fake.fail("fsync", errno.ENOSPC)
    with pytest.raises(Full):
        initialise(Filesystem(tmp_path))
    fake.reset()
    assert store_ids(Filesystem(tmp_path)) == set()
    assert initialise(Filesystem(tmp_path)) in store_ids(Filesystem(tmp_path))


def test_urls_name_backends(tmp_path: Path) -> None:
    assert isinstance(open_backend("memory:"), Memory)
    for url in (str(tmp_path), f"file://{tmp_path}", f"file://localhost{tmp_path}"):
        initialise(open_backend(url))
    for url in ("relative", "file:relative", "file://host/x", "http://x/", "s3://", ""):
        with pytest.raises(ValueError):
            open_backend(url)
