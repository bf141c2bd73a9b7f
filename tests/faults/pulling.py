"""Parallel pulls that remember how each of them went."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle

import requests

from tests.faults.images import Image, digest_of, live
from tests.live import Server

PAUSE_SECONDS = 0.02
"""Between two pulls of a thread: the machine has other things to do than to pull."""


@dataclass(frozen=True, slots=True)
class Pull:
    """One GET of a manifest or a blob.

    begun    by time.monotonic()
    seconds  until its last byte
    wrong    what was wrong with it; "" = 200 and the right bytes
    """

    begun: float
    seconds: float
    wrong: str


@contextmanager
def pulling(
    server: Server, wanted: Mapping[str, bytes], threads: int = 2
) -> Iterator[Sequence[Pull]]:
    """Pull each path, whose bytes are known, again and again until left; lends what was pulled."""
    pulls, stop = list[Pull](), threading.Event()

    def pull_on(number: int) -> None:
        mine = replace(server, session=requests.Session())
        for path in cycle([*wanted][number:] + [*wanted][:number]):
            if stop.wait(PAUSE_SECONDS):
                break
            pulls.append(pull(mine, path, wanted[path]))
        mine.session.close()

    workers = [threading.Thread(target=pull_on, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield pulls
    finally:
        stop.set()
        for worker in workers:
            worker.join(60)
    assert not any(worker.is_alive() for worker in workers)


def paths_of(name: str, image: Image, *references: str) -> dict[str, bytes]:
    """Return path -> bytes of an image's manifest by all references, and of its blobs."""
    manifests = {f"/v2/{name}/manifests/{each}": image.manifest for each in references}
    return manifests | {f"/v2/{name}/blobs/{digest_of(blob)}": blob for blob in image.blobs}


def pull(server: Server, path: str, wanted: bytes) -> Pull:
    """Pull once."""
    begun = time.monotonic()
    try:
        answer = live(server)("GET", path)
        wrong = "" if answer.body == wanted else f"{path}: {answer.status} {answer.body[:300]!r}"
    except requests.RequestException as exc:
        wrong = f"{path}: {exc!r}"
    return Pull(begun, time.monotonic() - begun, wrong)
