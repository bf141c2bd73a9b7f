"""Bytes of a replica set change: on one replica nobody notices and it heals; on all, it is told."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.counts import count
from tests.faults.images import Call, digest_of, live, make_image, push
from tests.faults.test_flips import flip, wrong_or_good
from tests.figures import record
from tests.live import Server, storage_flags, wait_for

pytestmark = pytest.mark.fault

FLIPS = count(25, 300)
FLIPS_OF_ALL = count(3, 60)
NAME = "rot/site"
IMAGES = [make_image(f"rot {n}", 700_000 * (n + 1)) for n in range(4)]


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, ...]:
    return tuple(tmp_path / name for name in "abc")


@pytest.fixture
def server(start: Callable[..., Server], roots: tuple[Path, ...]) -> Server:
    env = {"DISTSERVER_HOT_BYTES": "0"}  # copies of its own would hide what the replicas have
    made = start(None, "--workers", "1", storage=tuple(map(str, roots)), env=env)
    for number, image in enumerate(IMAGES):
        push(live(made), NAME, f"v{number}", image)
    wait_for(lambda: are_equal(roots), 30, "three copies: two were enough for the pushes")
    return made


def pulls(call: Call, number: int, at: int) -> bool:
    """Whether an image is served whole, also as a range around a place."""
    image = IMAGES[number]
    good = wrong_or_good(call, f"/v2/{NAME}/manifests/v{number}", image.manifest)
    for blob in image.blobs:
        start = min(at, len(blob) - 1)
        part = blob[start : start + 1000]
        path, wanted = f"/v2/{NAME}/blobs/{digest_of(blob)}", f"{start}-{start + len(part) - 1}"
        good &= wrong_or_good(call, path, part, Range=f"bytes={wanted}")
        good &= wrong_or_good(call, path, blob)
    return good


def verify(server: Server, roots: tuple[Path, ...]) -> subprocess.CompletedProcess[str]:
    flags = [*storage_flags(tuple(map(str, roots))), "--state", str(server.directory / "state")]
    command = [sys.executable, "-m", "distserver", "verify", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for place in ("blobs", "chunks")
        for path in (root / place).rglob("*")
        if path.is_file()
    }


def are_equal(roots: tuple[Path, ...]) -> bool:
    """Whether all replicas have the same content."""
    return all(contents(root) == contents(roots[0]) for root in roots)


def test_flips_on_one_replica(server: Server, roots: tuple[Path, ...]) -> None:
    rng, call, before = random.Random(6), live(server), contents(roots[0])
    files = [p for p in roots[0].rglob("*") if p.is_file() and p.stat().st_size]
    files = [path for path in files if path.relative_to(roots[0]).parts[0] not in ("_store", "tmp")]
    failed = 0
    for _ in range(FLIPS):
        path = rng.choice(files)
        at = flip(path, rng)
        failed += not all([pulls(call, number, at) for number in range(len(IMAGES))])
    done = verify(server, roots)
    record(
        "R-05",
        f"one byte flipped at {FLIPS} random places of one replica of three",
        "0 wrong bodies, no pull fails, healed",
        f"0 wrong bodies, {failed} pulls failed, all content as before after `verify`",
    )
    assert failed == 0
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(roots[0]) == before == contents(roots[1])


def test_flips_of_the_same_place_on_all(server: Server, roots: tuple[Path, ...]) -> None:
    rng, call = random.Random(7), live(server)
    named = 0
    for _ in range(FLIPS_OF_ALL):
        number = rng.randrange(len(IMAGES))
        digest = digest_of(IMAGES[number].layer)
        digits = digest.removeprefix("sha256:")
        seed = rng.random()
        for root in roots:
            at = flip(root / "blobs/sha256" / digits[:2] / digits, random.Random(seed))
        assert not pulls(call, number, at)
        done = verify(server, roots)
        named += done.returncode == 1 and digits in done.stderr
        assert call("HEAD", f"/v2/{NAME}/blobs/{digest}").status == 404, "a push must bring it"
        push(call, NAME, f"v{number}", IMAGES[number])
        assert pulls(call, number, at)
        # A third copy that is still on its way would take the place of the next flip.
        wait_for(lambda: are_equal(roots), 30, "three good copies")
    record(
        "R-05",
        f"the same byte flipped on all three replicas, {FLIPS_OF_ALL} times",
        "503 and named in `verify`, 0 wrong bodies, healed by a push",
        f"0 wrong bodies, {named} of {FLIPS_OF_ALL} named, all healed",
    )
    assert named == FLIPS_OF_ALL
    assert verify(server, roots).returncode == 0
