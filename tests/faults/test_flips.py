"""One byte of the store changes, anywhere, again and again: never a wrong body, and it heals."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.counts import count
from tests.faults.images import Call, assert_pulls, digest_of, live, make_image, push
from tests.figures import record
from tests.live import Server

pytestmark = pytest.mark.fault

FLIPS = count(50, 1000)
IMAGES = [make_image(f"flip {i}", 700_000 * (i + 1)) for i in range(4)]
MANIFESTS = [image.digest.removeprefix("sha256:") for image in IMAGES]


def flip(path: Path, rng: random.Random) -> int:
    """Change one byte in place and return where."""
    with path.open("r+b") as file:
        at = rng.randrange(path.stat().st_size)
        file.seek(at)
        old = file.read(1)[0]
        file.seek(at)
        file.write(bytes([old ^ rng.randrange(1, 256)]))
    return at


def wrong_or_good(call: Call, path: str, expected: bytes, **headers: str) -> bool:
    """Whether it is served; a body that ends well is right to the last byte."""
    answer = call("GET", path, **headers)
    served = answer.status in (200, 206) and answer.whole
    assert served or answer.status in (200, 206, 503), answer.status
    assert not served or answer.body == expected, path
    return served


def pulls(call: Call, number: int, at: int) -> bool:
    """Whether an image is served whole, also as ranges around a place."""
    image, name = IMAGES[number], f"flip/{number}"
    good = wrong_or_good(call, f"/v2/{name}/manifests/v1", image.manifest)
    for blob in image.blobs:
        path, start = f"/v2/{name}/blobs/{digest_of(blob)}", min(at, len(blob) - 1)
        part = blob[start : start + 1000]
        wanted = f"bytes={start}-{start + len(part) - 1}"
        good &= wrong_or_good(call, path, part, Range=wanted)
        good &= wrong_or_good(call, path, blob)
    return good


def test_flipped_bytes(start: Callable[..., Server]) -> None:
    """R-05: a flipped byte of content is noticed at the first read, one beside it hurts nobody."""
    rng, server = random.Random(5), start(None, "--workers", "1")
    call = live(server)
    for number, image in enumerate(IMAGES):
        push(call, f"flip/{number}", "v1", image)
    files = [path for path in server.storage.rglob("*") if path.is_file() and path.stat().st_size]
    files = [path for path in files if "_store" not in path.parts]
    noticed = content = 0
    for _ in range(FLIPS):
        path = rng.choice(files)
        is_content = path.relative_to(server.storage).parts[0] == "blobs"
        at = flip(path, rng)
        good = all([pulls(call, number, at) for number in range(len(IMAGES))])
        # A manifest may be served from memory, right all the same.
        assert good != is_content or path.name in MANIFESTS, path
        content += is_content and path.name not in MANIFESTS
        noticed += not good and path.name not in MANIFESTS
        for number, image in enumerate(IMAGES):
            push(call, f"flip/{number}", "v1", image)
        assert pulls(call, 0, at)
    for number, image in enumerate(IMAGES):
        assert_pulls(call, f"flip/{number}", "v1", image)
    record(
        "R-05",
        f"one byte flipped at {FLIPS} random places of blobs, manifests, chunk hashes, records",
        "0 complete wrong bodies; 100 % noticed at the first read; 100 % healed by a push",
        f"{noticed} of {content} flips of blobs noticed, 0 wrong bodies, all healed",
    )


def test_two_blobs_exchanged(start: Callable[..., Server]) -> None:
    """Good bytes under the wrong name are damage as well."""
    server = start(None, "--workers", "1")
    call = live(server)
    for number in (0, 1):
        push(call, f"flip/{number}", "v1", IMAGES[number])
    paths = [_blob(server, IMAGES[number].layer) for number in (0, 1)]
    paths[0].rename(server.storage / "aside")
    paths[1].rename(paths[0])
    (server.storage / "aside").rename(paths[1])
    assert [pulls(call, number, 0) for number in (0, 1)] == [False, False]
    for number in (0, 1):
        push(call, f"flip/{number}", "v1", IMAGES[number])
    assert [pulls(call, number, 0) for number in (0, 1)] == [True, True]


def test_a_zeroed_block(start: Callable[..., Server]) -> None:
    """What a disk leaves that lost a sector; the time of the file may even say it is old."""
    server = start(None, "--workers", "1")
    call = live(server)
    push(call, "flip/3", "v1", IMAGES[3])
    path = _blob(server, IMAGES[3].layer)
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(1 << 20)
        file.write(bytes(4096))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not pulls(call, 3, 1 << 20)
    assert wrong_or_good(call, f"/v2/flip/3/blobs/{digest_of(IMAGES[3].config)}", IMAGES[3].config)


def _blob(server: Server, data: bytes) -> Path:
    digest = digest_of(data).removeprefix("sha256:")
    return server.storage / "blobs/sha256" / digest[:2] / digest
