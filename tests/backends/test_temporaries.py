"""Files in tmp/: their names, and what of them the sweep takes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from backends import Filesystem, put, read_all


def _left(root: Path, name: str, age: float) -> Path:
    (root / "tmp").mkdir(exist_ok=True)
    path = root / "tmp" / name
    path.write_bytes(b"left")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_sweep_takes_old_files_and_those_from_the_future(files: Filesystem, root: Path) -> None:
    old, young = _left(root, "old", 90_000), _left(root, "young", 80_000)
    ahead, near = _left(root, "ahead", -90_000), _left(root, "near", -60)
    assert files.sweep() == 2
    assert not old.exists() and not ahead.exists()
    assert young.exists() and near.exists()


def test_sweep_takes_nothing_but_files(files: Filesystem, root: Path) -> None:
    (root / "tmp" / "directory").mkdir(parents=True)
    (root / "tmp" / "link").symlink_to(root)
    assert files.sweep(0) == 0


def test_sweep_without_temporaries_is_nothing(files: Filesystem, root: Path) -> None:
    for path in (root / "tmp").iterdir():
        path.unlink()
    (root / "tmp").rmdir()
    assert files.sweep(0) == 0


def test_sweep_leaves_a_link_under_way_to_an_old_entry(files: Filesystem, root: Path) -> None:
    """A link has the time of the bytes it names, which may be years old."""
    put(files, "entry", b"x")
    os.utime(root / "entry", (1, 1))
    os.link(root / "entry", root / "tmp" / "under-way")
    assert files.sweep() == 0
    assert files.sweep(0) == 1
    assert read_all(files, "entry", 9) == b"x"


def test_temporaries_tell_host_and_process(files: Filesystem, root: Path) -> None:
    with files.create():
        (name,) = os.listdir(root / "tmp")
    assert name.startswith(f"{os.uname().nodename[:64]}-{os.getpid()}-")
