"""Parallel pushes that remember what was acknowledged, for tests that crash what they push to."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import requests

from tests.faults.images import (
    Answer,
    Call,
    Image,
    digest_of,
    live,
    make_image,
    push_blob,
    push_manifest,
)
from tests.live import Server, storage_flags

SIZES = (1_000, 200_000, 1_500_000)
"""Layers: small ones, and one that has chunk hashes."""


@dataclass
class Acknowledged:
    """All that servers said 201 to.

    blobs      (repository, digest) -> bytes
    manifests  (repository, tag or digest) -> bytes
    moving     repository -> digests that its tag `latest` may name: the last one acknowledged,
               then those whose answer never came
    refused    what was answered instead
    unanswered requests that got no answer at all
    """

    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    moving: dict[str, list[str]] = field(default_factory=dict)
    refused: list[Answer] = field(default_factory=list)
    unanswered: int = 0

    def __len__(self) -> int:
        return len(self.blobs) + len(self.manifests)

    def add(self, more: Acknowledged) -> None:
        """Take what was acknowledged since, by pushes that knew of this."""
        self.blobs.update(more.blobs)
        self.manifests.update(more.manifests)

    def lost(self, server: Server) -> list[str]:
        """What the server does not give back, byte for byte."""
        call = live(server)
        wanted = {f"/v2/{name}/blobs/{digest}": data for (name, digest), data in self.blobs.items()}
        for (name, reference), data in self.manifests.items():
            wanted[f"/v2/{name}/manifests/{reference}"] = data
        found = [path for path, data in wanted.items() if call("GET", path).body != data]
        for name, digests in self.moving.items():
            answer = call("HEAD", f"/v2/{name}/manifests/latest")
            if answer.headers.get("Docker-Content-Digest", "") not in digests:
                found.append(f"{name}:latest is {answer} instead of one of {digests}")
        return found


@contextmanager
def pushing(
    server: Server, seed: object, before: Acknowledged | None = None, threads: int = 8
) -> Iterator[Acknowledged]:
    """Push image after image from so many threads, whatever happens to the server, until left.

    before  what was pushed to the same storage earlier: where its tags may still stand
    """
    acknowledged, stop = Acknowledged(moving=before.moving if before else {}), threading.Event()

    def push_on(number: int) -> None:
        rng, name = random.Random(f"{seed} {number}"), f"pusher/{number}"
        mine = replace(server, session=requests.Session())
        while not stop.is_set():
            image = make_image(f"{seed} {rng.random()}", rng.choice(SIZES))
            try:
                _push(live(mine), name, image, acknowledged)
            except requests.RequestException:
                acknowledged.unanswered += 1
                stop.wait(0.02)  # the server is away: no busy loop
            except Refused as exc:
                acknowledged.refused.append(exc.answer)
                stop.wait(0.02)
        mine.session.close()

    workers = [threading.Thread(target=push_on, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        for worker in workers:
            worker.join(60)
    assert not any(worker.is_alive() for worker in workers)


class Refused(Exception):
    """A request was not acknowledged.

    answer  what was said instead
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


def verify(server: Server) -> str:
    """Run `distserver verify` on the server's storage; return what it says if it finds damage."""
    command = [sys.executable, "-m", "distserver", "verify"]
    done = subprocess.run(
        [*command, *storage_flags(server.storage), "--state", str(server.directory / "state")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _push(call: Call, name: str, image: Image, acknowledged: Acknowledged) -> None:
    _must(push_blob(call, name, image.config))
    acknowledged.blobs[name, digest_of(image.config)] = image.config
    _push_in_pieces(call, name, image.layer)
    acknowledged.blobs[name, digest_of(image.layer)] = image.layer
    tag = image.digest[7:27]
    _must(push_manifest(call, name, tag, image.manifest))
    acknowledged.manifests[name, tag] = image.manifest
    acknowledged.manifests[name, image.digest] = image.manifest
    acknowledged.moving.setdefault(name, [""]).append(image.digest)
    _must(push_manifest(call, name, "latest", image.manifest))
    acknowledged.moving[name] = [image.digest]


def _push_in_pieces(call: Call, name: str, data: bytes) -> None:
    answer = call("POST", f"/v2/{name}/blobs/uploads/")
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        _must(answer)
        answer = call("PATCH", answer.headers["Location"], piece)
    _must(answer)
    _must(call("PUT", f"{answer.headers['Location']}?digest={digest_of(data)}"))


def _must(answer: Answer) -> None:
    if answer.status not in (201, 202):
        raise Refused(answer)
