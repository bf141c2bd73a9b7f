"""What others put into the tree: it is no entry, hangs nobody, and gives way where it may."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from backends import Filesystem, put, read_all
from backends.errors import Corrupt, NotFound, Unavailable


@pytest.mark.parametrize("kind", ["symbolic link", "dangling link", "pipe", "directory", "socket"])
def test_only_regular_files_are_entries(files: Filesystem, root: Path, kind: str) -> None:
    """And a pipe in the place of an entry hangs nobody."""
    put(files, "d/real", b"x")
    _place(root / "d" / "odd", kind)
    for ask in (files.stat, files.open, files.local_path):
        with pytest.raises(NotFound):
            ask("d/odd")
    with pytest.raises(NotFound):
        files.link("d/odd", "d/target")
    assert list(files.keys("d/")) == ["d/real"]


def _place(path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        os.mknod(path, 0o140644)
    else:
        path.symlink_to("real" if kind == "symbolic link" else "nowhere")


@pytest.mark.parametrize("kind", ["symbolic link", "dangling link", "pipe", "socket"])
def test_a_write_replaces_what_is_no_entry(files: Filesystem, root: Path, kind: str) -> None:
    put(files, "d/real", b"real")
    _place(root / "d" / "odd", kind)
    put(files, "d/odd", b"x")
    assert read_all(files, "d/odd", 9) == b"x"
    assert read_all(files, "d/real", 9) == b"real"


def test_foreign_files_stay_invisible(files: Filesystem, root: Path) -> None:
    put(files, "d/real", b"x")
    for name in (".nfs01", "a b", "~lock", "x.sync-conflict-1", "ü", "sha256:0"):
        (root / "d" / name).write_bytes(b"")
    (root / "d" / ".stversions").mkdir()
    (root / "d" / ".stversions" / "old").write_bytes(b"")
    (root / "lost+found").mkdir()
    (root / "lost+found" / "x").write_bytes(b"")
    assert list(files.keys("d/")) == ["d/real"]
    assert not [key for key in files.keys("") if "lost" in key or key.startswith("tmp")]


def test_a_linked_directory_is_not_listed(files: Filesystem, root: Path) -> None:
    """A loop of links would make a listing endless."""
    put(files, "d/real", b"x")
    (root / "d" / "loop").symlink_to(root)
    assert list(files.keys("d/")) == ["d/real"]


def test_a_file_in_the_place_of_a_directory_is_damage_not_absence(
    files: Filesystem, root: Path
) -> None:
    put(files, "other", b"x")
    (root / "d").write_bytes(b"garbage")
    for act in (
        lambda: files.stat("d/x"),
        lambda: files.open("d/x"),
        lambda: put(files, "d/x", b""),
        lambda: files.delete("d/x"),
        lambda: list(files.keys("d/")),
    ):
        with pytest.raises(Unavailable):
            act()
    assert read_all(files, "other", 9) == b"x"
    assert os.listdir(root / "tmp") == []


PLACINGS: dict[str, Callable[[Filesystem, Path], None]] = {
    "put": lambda files, spare: put(files, "d/key", b"x"),
    "link": lambda files, spare: files.link("source", "d/key"),
    "adopt": lambda files, spare: files.adopt(str(spare), "d/key"),
}


@pytest.mark.parametrize("how", PLACINGS)
def test_an_empty_directory_in_the_place_of_an_entry_gives_way(
    files: Filesystem, root: Path, tmp_path: Path, how: str
) -> None:
    """Damage that a push can mend."""
    put(files, "source", b"x")
    (tmp_path / "spare").write_bytes(b"x")
    (root / "d" / "key").mkdir(parents=True)
    PLACINGS[how](files, tmp_path / "spare")
    assert read_all(files, "d/key", 9) == b"x"


@pytest.mark.parametrize("how", PLACINGS)
def test_a_directory_with_something_in_it_stays(
    files: Filesystem, root: Path, tmp_path: Path, how: str
) -> None:
    put(files, "source", b"x")
    (tmp_path / "spare").write_bytes(b"x")
    put(files, "d/key/inside", b"kept")
    with pytest.raises(Unavailable):
        PLACINGS[how](files, tmp_path / "spare")
    assert read_all(files, "d/key/inside", 9) == b"kept"
    assert os.listdir(root / "tmp") == []


def test_a_file_cut_short_while_it_is_read_is_corrupt(files: Filesystem, root: Path) -> None:
    put(files, "entry", b"0123456789")
    with files.open("entry", 2) as reader:
        os.truncate(root / "entry", 5)
        assert reader.read(99) == b"234"
        with pytest.raises(Corrupt):
            reader.read(99)
    with files.open("entry", 5) as reader:
        assert reader.read() == b""
