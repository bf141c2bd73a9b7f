"""What tests of rot share: images that an upstream has, a store that is scrubbed, flips."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.counts import count
from tests.faults.images import Image, digest_of, live, make_image
from tests.faults.test_flips import flip, wrong_or_good
from tests.live import Server, storage_flags, wait_for
from tests.proxy.scripted import Asked, Reply

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
    """A server, the files of its content as they should be, and its storage if it is another."""

    server: Server
    good: dict[Path, bytes]
    storage: tuple[str, ...] | None = None

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Our command on this storage."""
        where = [
            *storage_flags(self.storage or self.server.storage),
            "--state",
            str(self.server.directory / "s2"),
        ]
        command = [sys.executable, "-m", "distserver", *arguments, *where]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    def scrub(self) -> None:
        """Let the server begin a pass now, and wait for its end."""
        began, path = time.time(), self.server.directory / "state/scrub.json"

        def has_ended() -> bool:
            progress = self.progress()
            if float(str(progress.get("begun", 0))) >= began:
                return bool(progress.get("ended"))
            path.unlink(missing_ok=True)  # also what a pass wrote that was under way before
            return False

        wait_for(has_ended, 120, "end of the pass")

    def progress(self) -> dict[str, object]:
        path = self.server.directory / "state/scrub.json"
        found: dict[str, object] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def bad(self) -> set[Path]:
        """Files that are not as they should be."""
        return {path for path, data in self.good.items() if path.read_bytes() != data}

    def told(self) -> set[str]:
        """Keys that were found damaged, by the log: by the scrub, or while it mends others."""
        log = self.server.log
        read = re.findall(r"stored content is damaged: sha256:((..)\S+)", log)
        scrubbed = set(re.findall(r"damaged (blobs/\S+):", log))
        return scrubbed | {f"blobs/sha256/{two}/{digits}" for digits, two in read}


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
