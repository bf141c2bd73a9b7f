"""Pushers, pullers and deleters of images that share layers, while garbage is collected."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import requests

from tests.faults.images import (
    CONFIG_TYPE,
    LAYER_TYPE,
    TYPE,
    Answer,
    Call,
    digest_of,
    live,
    push_blob,
    push_manifest,
)
from tests.live import Server

LAYERS = 24
"""So few that images share them, and that what one deletes another is about to push."""
PUSHERS = PULLERS = 16
BUSY = (429, 500, 502, 503, 504)
ANSWER_SECONDS = 120.0
"""A server that was killed is back by then."""


@dataclass(frozen=True)
class Pushed:
    """An image as it was acknowledged."""

    name: str
    manifest: bytes
    blobs: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


@dataclass
class Storm:
    """What happened so far.

    images   acknowledged, and not deleted
    wrong    what an acknowledged image answered instead of its bytes
    refused  pushes that were told that a blob is unknown, and began again
    """

    servers: Sequence[Server]
    seed: object
    images: dict[tuple[str, str], Pushed] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    pushes: int = 0
    pulls: int = 0
    deletes: int = 0
    refused: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, rng: random.Random) -> Pushed | None:
        """Any image that was acknowledged."""
        with self.lock:
            return rng.choice(list(self.images.values())) if self.images else None

    def has(self, image: Pushed) -> bool:
        with self.lock:
            return (image.name, image.digest) in self.images


def check(call: Call, image: Pushed) -> str:
    """Pull all of an image; what is wrong with it, "" = nothing."""
    wanted = {f"/v2/{image.name}/manifests/{image.digest}": image.manifest}
    wanted |= {f"/v2/{image.name}/blobs/{digest_of(blob)}": blob for blob in image.blobs}
    for path, data in wanted.items():
        answer = _patient(lambda path=path: call("GET", path))  # type: ignore[misc]
        if answer.status != 200 or answer.body != data:
            return f"{path}: {answer.status} {answer.body[:200]!r}"
    return ""


@contextmanager
def blowing(servers: Sequence[Server], seed: object) -> Iterator[Storm]:
    """Push, pull and delete from many threads, each at any of the servers, until left."""
    storm = Storm(servers, seed)
    threads = [
        threading.Thread(target=_until_stopped, args=(storm, work, f"{seed} {work} {number}"))
        for work, count in ((_push, PUSHERS), (_pull, PULLERS), (_delete, 1))
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    try:
        yield storm
    finally:
        storm.stop.set()
        for thread in threads:
            thread.join(2 * ANSWER_SECONDS)
    assert not any(thread.is_alive() for thread in threads)


def _until_stopped(
    storm: Storm, work: Callable[[Storm, Call, random.Random], None], seed: str
) -> None:
    rng = random.Random(seed)
    calls = [live(replace(server, session=requests.Session())) for server in storm.servers]

    def anywhere(*args: object, **more: object) -> Answer:
        return rng.choice(calls)(*args, **more)

    while not storm.stop.is_set():
        work(storm, anywhere, rng)


def _push(storm: Storm, call: Call, rng: random.Random) -> None:
    image = _image(rng)
    for blob in image.blobs:
        path = f"/v2/{image.name}/blobs/{digest_of(blob)}"
        if _patient(lambda path=path: call("HEAD", path)).status != 200:  # type: ignore[misc]
            _patient(lambda blob=blob: push_blob(call, image.name, blob))  # type: ignore[misc]
    answer = _patient(lambda: push_manifest(call, image.name, image.digest, image.manifest))
    with storm.lock:
        if answer.status == 201:
            storm.images[image.name, image.digest] = image
            storm.pushes += 1
        else:
            assert answer.error == "MANIFEST_BLOB_UNKNOWN", answer
            storm.refused += 1


def _pull(storm: Storm, call: Call, rng: random.Random) -> None:
    image = storm.take(rng)
    if image is None:
        storm.stop.wait(0.01)
        return
    problem = check(call, image)
    with storm.lock:
        storm.pulls += 1
    if problem and storm.has(image):
        storm.wrong.append(problem)


def _delete(storm: Storm, call: Call, rng: random.Random) -> None:
    """Delete images, so that there is garbage: half of what is there, then a pause."""
    with storm.lock:
        doomed = [image for image in storm.images.values() if rng.random() < 0.5]
        for image in doomed:
            del storm.images[image.name, image.digest]
    for image in doomed:
        path = f"/v2/{image.name}/manifests/{image.digest}"
        answer = _patient(lambda path=path: call("DELETE", path))  # type: ignore[misc]
        assert answer.status in (202, 404), answer
        storm.deletes += 1
    storm.stop.wait(rng.uniform(0.5, 3))


def _image(rng: random.Random) -> Pushed:
    """An image of a few layers of the common stock; its name and config are its own."""
    layers = tuple(_layer(number) for number in rng.sample(range(LAYERS), 3))
    config = json.dumps({"os": "linux", "made": rng.random()}).encode()
    rows = [
        {"mediaType": kind, "digest": digest_of(data), "size": len(data)}
        for kind, data in ((CONFIG_TYPE, config), *((LAYER_TYPE, layer) for layer in layers))
    ]
    value = {"schemaVersion": 2, "mediaType": TYPE, "config": rows[0], "layers": rows[1:]}
    name = f"storm/{rng.randrange(4)}"
    return Pushed(name, json.dumps(value).encode(), (config, *layers))


def _layer(number: int) -> bytes:
    return random.Random(f"layer {number}").randbytes(1_000 if number % 4 else 1_200_000)


def _patient(ask: Callable[[], Answer]) -> Answer:
    """Ask until it is answered: servers are killed, and their storage may be."""
    until = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            answer = ask()
            if (answer.status not in BUSY and answer.whole) or time.monotonic() > until:
                return answer
        except requests.RequestException:
            if time.monotonic() > until:
                raise
        time.sleep(0.05)
