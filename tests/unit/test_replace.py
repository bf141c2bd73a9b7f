"""A small file that is replaced: old or new, never half, and nothing else is left."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from distserver.proxy.replace import replace


def test_many_writers_and_readers_see_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace(path, b"0" * 100_000)

    def work(n: int) -> bool:
        replace(path, str(n % 10).encode() * 100_000)
        seen = path.read_bytes()
        return len(seen) == 100_000 and len(set(seen)) == 1

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_what_fails_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    path = tmp_path / "file"
    replace(path, b"old", fsync=True)
    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), broken)
    with pytest.raises(OSError, match="Input"):
        replace(path, b"new", fsync=True)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
