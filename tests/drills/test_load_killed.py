"""A load that is killed in the middle shows nothing, and the next one writes what is missing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.counts import count
from tests.drills.commands import Ours
from tests.figures import record
from tests.links.images import make_image, write_layout
from tests.live import kill, wait_for

pytestmark = pytest.mark.fault
KILLS = count(5, 50)
LAYERS, LAYER_BYTES = 12, 4_000_000


def test_kill_and_load_again(tmp_path: Path) -> None:
    image = make_image(tmp_path / "images", LAYER_BYTES, 0)
    for number in range(1, LAYERS):
        below = image
        image = make_image(tmp_path / "images", LAYER_BYTES, number, below)
        write_layout(image, tmp_path / "old" / f"{number}", f"app{number}:1", f"app{number}:1")
    ours = Ours(tmp_path / "ours")
    ours.run("load", tmp_path / "old")
    ours.run("save", "--all", "-o", tmp_path / "all.tar")
    wanted = ours.images()
    for attempt in range(KILLS):
        site = Ours(tmp_path / f"site{attempt}")
        _kill_in_the_middle(site, tmp_path / "all.tar", random.Random(attempt).randrange(1, LAYERS))
        assert site.images() == {}
        held = sum(path.stat().st_size for path in site.storage.glob("blobs/*/*/*"))
        done = site.do("load", tmp_path / "all.tar")
        assert done["held_bytes"] == held
        assert site.images() == wanted
        assert site.whole()
    record(
        "Loads that are killed",
        f"kill -9 in the middle of a load, {KILLS} times, then load again",
        "nothing is visible before; complete after; what was written is not written again",
        f"{KILLS} of {KILLS} complete, none was visible before",
    )


def _kill_in_the_middle(site: Ours, bundle: Path, blobs: int) -> None:
    process = site.begin("load", bundle)
    try:
        wait_for(lambda: len(list(site.storage.glob("blobs/*/*/*"))) >= blobs, 60, "blobs")
    finally:
        kill(process.pid)
        process.communicate(timeout=60)
    assert process.returncode < 0, "it was done before it could be killed"
