"""Bytes rot: one pass of a server's background scrub finds all of it, and all of it is mended."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.counts import count
from tests.faults.images import Image, digest_of, live, make_image, push
from tests.faults.test_flips import flip, wrong_or_good
from tests.figures import record
from tests.live import Server, storage_flags, wait_for
from tests.protocol.upstream import table
from tests.proxy.scripted import Asked, Reply, scripted

pytestmark = pytest.mark.fault

FLIPS = count(30, 300)
IMAGES = [make_image(f"scrub {n}", 1_200_000 if n % 9 == 0 else 60_000) for n in range(FLIPS // 2)]
PULLED, PUSHED = IMAGES[::2], IMAGES[1::2]
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
QUICK = {"DISTSERVER_SCRUB_BYTES_PER_SECOND": str(1 << 40)}


def upstream(asked: Asked) -> Reply:
    """It has what is pulled through: team/<number>."""
    _, _, _, number, kind, reference = asked.path.split("/")
    image = PULLED[int(number)]
    if kind == "manifests" and reference in ("v1", image.digest):
        head = {"Content-Type": MANIFEST, "Docker-Content-Digest": image.digest}
        return 200, head, image.manifest
    bodies = {digest_of(blob): blob for blob in image.blobs}
    return (200, {}, bodies[reference]) if reference in bodies else (404, {}, b"")


@dataclass
class Store:
    """A server with images of both kinds, and the files of its content as they should be."""

    server: Server
    good: dict[Path, bytes]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Our command on this storage."""
        where = [*storage_flags(self.server.storage), "--state", str(self.server.directory / "s2")]
        command = [sys.executable, "-m", "distserver", *arguments, *where]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    def scrub(self) -> None:
        """Let the server begin a pass now, and wait for its end."""
        (self.server.directory / "state/scrub.json").unlink(missing_ok=True)
        wait_for(lambda: self.progress().get("ended"), 120, "end of the pass")

    def progress(self) -> dict[str, object]:
        path = self.server.directory / "state/scrub.json"
        found: dict[str, object] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def bad(self) -> set[Path]:
        """Files that are not as they should be."""
        return {path for path, data in self.good.items() if path.read_bytes() != data}

    def told(self) -> set[str]:
        """Keys that the scrub found damaged, by the log."""
        return set(re.findall(r"damaged (blobs/\S+):", self.server.log))


@pytest.fixture
def store(start: Callable[..., Server], tmp_path: Path) -> Iterator[Store]:
    with scripted(upstream) as up:
        config = table(tmp_path, up.url, tag_ttl_seconds="-1")
        server = start(None, "--workers", "2", "--config", config, env=QUICK)
        call = live(server)
        for number, image in enumerate(PUSHED):
            push(call, f"pushed/{number}", "v1", image)
        for number, image in enumerate(PULLED):
            for path in paths(f"up.site/team/{number}", image):
                assert call("GET", path).status == 200
        begun = server.directory / "state/begun"
        wait_for(lambda: not list(begun.glob("*/*/*.json")), 60, "completion")
        yield Store(server, contents(server.storage))


def paths(name: str, image: Image) -> dict[str, bytes]:
    """What a pull asks for."""
    blobs = {f"/v2/{name}/blobs/{digest_of(blob)}": blob for blob in image.blobs}
    return {f"/v2/{name}/manifests/{image.digest}": image.manifest, **blobs}


def contents(storage: Path) -> dict[Path, bytes]:
    found = (path for place in ("blobs", "chunks") for path in (storage / place).rglob("*"))
    return {path: path.read_bytes() for path in found if path.is_file()}


def flip_silently(path: Path, rng: random.Random) -> None:
    """Change one byte; every second file says nothing of it."""
    before = path.stat()
    flip(path, rng)
    if rng.random() < 0.5:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def pull_all(server: Server, kind: str, images: list[Image]) -> int:
    """Pull all, and return how many requests were not served; what is served is right."""
    call, refused = live(server), 0
    for number, image in enumerate(images):
        for path, body in paths(f"{kind}/{number}", image).items():
            refused += not wrong_or_good(call, path, body)
    return refused


def damaged_now(server: Server) -> float:
    (found,) = re.findall(r"^distserver_damaged_entries (\S+)$", metrics(server), re.M)
    return float(found)


def metrics(server: Server) -> str:
    return server.request("GET", "/metrics").text


@pytest.mark.files
def test_random_flips_are_found_by_one_pass_and_mended(store: Store, tmp_path: Path) -> None:
    server, rng = store.server, random.Random(7)
    names = [f"pushed/{number}:v1" for number in range(len(PUSHED) // 2)]
    assert store.run("save", "-o", str(tmp_path / "bundle.tar"), *names).returncode == 0
    flipped = rng.sample(sorted(store.good), FLIPS)
    for path in flipped:
        flip_silently(path, rng)
    with ThreadPoolExecutor(1) as pool:  # reads mend what is pulled through: only the pushed ones
        pulls = pool.submit(pull_all, server, "pushed", PUSHED)
        store.scrub()
        pulls.result()
    blobs = {str(path.relative_to(server.storage)) for path in flipped if "blobs" in path.parts}
    chunks = len(flipped) - len(blobs)
    found = store.told()
    of_pushed = {digest_of(data) for image in PUSHED for data in (image.manifest, *image.blobs)}
    lasting = {path for path in blobs if f"sha256:{Path(path).name}" in of_pushed}
    wait_for(lambda: damaged_now(server) == len(lasting), 60, "mending from the upstream")
    assert found >= blobs
    assert {str(path.relative_to(server.storage)) for path in store.bad()} == lasting
    assert pull_all(server, "up.site/team", PULLED) == 0
    assert lasting and pull_all(server, "pushed", PUSHED)
    page = server.request("GET", "/").text
    assert "damaged or missing" in page and "pushed/" in page

    done = store.run("repair", "--from", str(tmp_path / "bundle.tar"))
    from_bundle = done.stdout.count("mended ")
    assert from_bundle and "Traceback" not in done.stderr
    for number in range(len(PUSHED) // 2, len(PUSHED)):
        push(live(server), f"pushed/{number}", "v1", PUSHED[number])
    assert store.bad() == set()
    assert pull_all(server, "pushed", PUSHED) == 0
    verified = store.run("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    store.scrub()
    assert damaged_now(server) == 0
    assert len(list((server.storage / "trash/damaged").iterdir())) >= len(blobs)
    record(
        "300 random byte flips",
        f"a byte flipped in each of {FLIPS} files of content, pushed and pulled",
        "all found by one pass, all mended when a good source exists, none served",
        f"{len(found & blobs)} of {len(blobs)} found and {chunks} chunk hashes mended;"
        f" {len(blobs) - len(lasting)} from the upstream, {from_bundle} from a bundle,"
        f" {len(lasting) - from_bundle} by a push; 0 wrong bodies",
    )


@pytest.mark.files
def test_a_pass_goes_on_after_kill(start: Callable[..., Server]) -> None:
    """What was read before is not read again, and nothing is left out."""
    env = {"DISTSERVER_SCRUB_BYTES_PER_SECOND": "1000000"}
    server = start(None, "--workers", "1", env=env)
    for number in range(40):
        push(live(server), "kill/site", f"v{number}", make_image(f"kill {number}", 150_000))
    good = contents(server.storage)
    files, rng = sorted(path for path in good if "blobs" in path.parts), random.Random(3)
    flipped = {str(path.relative_to(server.storage)) for path in files[::5]}
    for path in files[::5]:
        flip_silently(path, rng)
    store = Store(server, good)
    (server.directory / "state/scrub.json").unlink()
    wait_for(lambda: len(str(store.progress().get("position", ""))) > len("blobs/"), 60, "a part")
    server.kill()
    half, before = store.progress(), store.told()
    again = start(None, "--workers", "1", env=env)
    wait_for(lambda: store.progress().get("ended"), 60, "the rest")
    assert 0 < len(before) < len(flipped)
    assert f"reading on behind {half['position']}" in again.log
    assert store.told() >= flipped
    assert store.progress()["last_bytes"] == sum(path.stat().st_size for path in files)
