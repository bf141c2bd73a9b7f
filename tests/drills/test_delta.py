"""A delta carries the new bytes, and hardly anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drills.commands import Ours
from tests.figures import record
from tests.links.images import Image, make_image, write_layout

pytestmark = pytest.mark.client
IMAGES, CHANGED = 20, 2
LAYER_BYTES = 1_500_000


def test_two_of_twenty(tmp_path: Path) -> None:
    ours, there = Ours(tmp_path / "ours"), Ours(tmp_path / "there")
    base = make_image(tmp_path / "images", 3 * LAYER_BYTES, "base")
    old = [make_image(tmp_path / "images", LAYER_BYTES, n, base) for n in range(IMAGES)]
    _put(ours, tmp_path / "old", old)
    first = ours.do("save", "--all", "-o", tmp_path / "first.tar")
    there.run("load", tmp_path / "first.tar")
    new = [make_image(tmp_path / "images", LAYER_BYTES, f"new {n}", base) for n in range(CHANGED)]
    _put(ours, tmp_path / "new", new)
    lock = tmp_path / "first.tar.lock"
    ours.run("save", "--all", "-o", tmp_path / "delta.tar", "--since", lock)
    size, fresh = (tmp_path / "delta.tar").stat().st_size, sum(map(_new_bytes, new))
    assert size <= 1.05 * fresh
    missing = Ours(tmp_path / "elsewhere").run("load", tmp_path / "delta.tar", code=1)
    assert "load the bundle before it first" in missing
    assert Ours(tmp_path / "elsewhere").images() == {}
    there.run("load", tmp_path / "delta.tar")
    assert there.images() == ours.images()
    assert there.whole()
    record(
        "Delta bundles",
        f"{IMAGES} images, {CHANGED} changed, --since; {first['bytes']} bytes without",
        "at most 1.05 times the new bytes; complete where the first was, refused elsewhere",
        f"{size} bytes, {size / fresh:.3f} times the new ones; loaded, and refused elsewhere",
    )


def _put(ours: Ours, root: Path, images: list[Image]) -> None:
    for number, image in enumerate(images):
        name = f"docker.io/library/app{number}:1"
        write_layout(image, root / f"{number}", name, name)
    ours.run("load", root)


def _new_bytes(image: Image) -> int:
    config = next(path for digest, path in image.blobs.items() if path.stat().st_size < 4096)
    return image.size + len(image.manifest) + config.stat().st_size
