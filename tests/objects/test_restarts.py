"""An object store that is killed and restarted all the time, while images come and go."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import requests

from tests.counts import count
from tests.faults.images import Call, assert_pulls, digest_of, live, make_image, push
from tests.faults.pushing import Acknowledged, pushing
from tests.figures import record
from tests.live import Server, start_server, wait_for
from tests.objects.servers import ObjectStore

KILLS, EVERY_SECONDS, AWAY_SECONDS = 2, count(2, 5), 1.0
PUSHES, PULLS = count(20, 200), count(100, 2000)
THREADS = count(2, 4)
"""So many push, and as many pull images of each kind."""
ANSWER_SECONDS = 15.0

Wanted = dict[str, bytes]
"""Paths of an image, and what each has to bring."""


@dataclass
class Pulls:
    """What all pulls of a node came to.

    warm     images that this node pulled before: each answer has to be right
    refused  answers 503 to pulls of other images
    wrong    every answer that may not be
    slowest  seconds of an answer
    """

    node: Server
    warm: list[Wanted]
    stop: threading.Event = field(default_factory=threading.Event)
    whole: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=lambda: {"warm": 0.0, "cold": 0.0})

    def pull_warm(self, number: int) -> None:
        """Pull images that were pulled before, until stopped."""
        rng = random.Random(number)
        with _own_connection(self.node) as call:
            while not self.stop.is_set():
                for path, data in rng.choice(self.warm).items():
                    self._get("warm", call, path, data)
                self.whole.append("warm")

    def pull_cold(self, pushed: Acknowledged, name: str) -> None:
        """Pull what was pushed to a repository elsewhere, each image until it came whole."""
        taken = set()
        with _own_connection(self.node) as call:
            while not self.stop.wait(0.01):
                new = (tag for where, tag in list(pushed.manifests) if where == name)
                tag = next((tag for tag in new if ":" not in tag and tag not in taken), None)
                if tag is None:
                    continue
                taken.add(tag)
                wanted = _wanted(name, tag, pushed.manifests[name, tag], pushed.blobs)
                if all(self._get_at_last(call, path, data) for path, data in wanted.items()):
                    self.whole.append("cold")
                    self.warm.append(wanted)

    def _get_at_last(self, call: Call, path: str, data: bytes) -> bool:
        """Ask until it comes, or all is over."""
        while not self._get("cold", call, path, data):
            if self.stop.wait(0.1):
                return False
        return True

    def _get(self, kind: str, call: Call, path: str, data: bytes) -> bool:
        """Ask once; return whether it came. What may not be is noted."""
        began = time.monotonic()
        answer = call("GET", path)
        seconds = time.monotonic() - began
        self.slowest[kind] = max(self.slowest[kind], seconds)
        right = answer.status == 200 and answer.body == data
        if kind == "cold" and answer.status == 503:
            self.refused.append(path)
        elif not right:
            self.wrong.append(f"{kind} {path}: {answer.status}, whole: {answer.whole}")
        if seconds > ANSWER_SECONDS:
            self.wrong.append(f"{kind} {path}: {answer.status} after {seconds:.1f} s")
        return right


@contextmanager
def _own_connection(node: Server) -> Iterator[Call]:
    with requests.Session() as session:
        yield live(replace(node, session=session))


def _wanted(name: str, tag: str, manifest: bytes, blobs: dict[tuple[str, str], bytes]) -> Wanted:
    parsed = json.loads(manifest)
    digests = [part["digest"] for part in (parsed["config"], *parsed["layers"])]
    return {
        f"/v2/{name}/manifests/{tag}": manifest,
        f"/v2/{name}/manifests/{digest_of(manifest)}": manifest,
        **{f"/v2/{name}/blobs/{digest}": blobs[name, digest] for digest in digests},
    }


def _warmed(node: Server, number: int) -> Wanted:
    """Push an image to a node, and pull it there."""
    call, name, image = live(node), f"warm/{number}", make_image(f"warm {number}", 300_000)
    push(call, name, "v1", image)
    for reference in ("v1", image.digest):
        assert_pulls(call, name, reference, image)
    held = {(name, digest_of(blob)): blob for blob in image.blobs}
    return _wanted(name, "v1", image.manifest, held)


@contextmanager
def _pulling(pulls: Pulls, pushed: Acknowledged) -> Iterator[None]:
    """Pull both kinds from THREADS threads each, until left."""
    with ThreadPoolExecutor(2 * THREADS) as pool:
        try:
            work = [pool.submit(pulls.pull_warm, number) for number in range(THREADS)]
            work += [
                pool.submit(pulls.pull_cold, pushed, f"pusher/{number}")
                for number in range(THREADS)
            ]
            yield
        finally:
            pulls.stop.set()
    for done in work:
        done.result()


def _restart(own: ObjectStore, node: Server, cold: str, enough: Callable[[], bool]) -> list[float]:
    """Kill and start it again and again; return the seconds until the node used it each time."""
    found: list[float] = []
    while len(found) < KILLS or not enough():
        threading.Event().wait(EVERY_SECONDS)
        own.kill()
        threading.Event().wait(AWAY_SECONDS)
        own.start()
        began = time.monotonic()
        wait_for(lambda: live(node)("HEAD", cold).status == 200, ANSWER_SECONDS, "recovery")
        found.append(time.monotonic() - began)
    return found


@pytest.fixture
def nodes(own: ObjectStore, tmp_path: Path) -> Iterator[list[Server]]:
    """Two nodes over one bucket, each with hot copies of its own."""
    url, found = own.url(), []
    try:
        for number in range(2):
            found.append(start_server(tmp_path / str(number), "--workers", "2", storage=url))
        yield found
    finally:
        for node in found:
            node.kill()
    assert not any("Traceback" in node.log for node in found)


def test_restarts_lose_nothing_and_no_warm_pull_fails(
    own: ObjectStore, nodes: list[Server]
) -> None:
    node, other = nodes
    pulls = Pulls(node, [_warmed(node, number) for number in range(3)])
    # what a push would have to bring is asked of the storage, never of a copy
    asked = next(path for path in pulls.warm[0] if "/blobs/" in path)
    with pushing(other, "restarts", threads=THREADS) as pushed, _pulling(pulls, pushed):
        enough = lambda: len(pushed.manifests) >= 2 * PUSHES and len(pulls.whole) >= PULLS  # noqa: E731
        seconds = _restart(own, node, asked, enough)
    lost = pushed.lost(node) + pushed.lost(other)
    _record(pushed, pulls, lost, seconds)
    assert lost == [] and pulls.wrong == []
    assert pulls.refused and pulls.whole.count("cold"), "no pull met an outage"


def _record(pushed: Acknowledged, pulls: Pulls, lost: list[str], seconds: list[float]) -> None:
    record(
        "S3",
        f"MinIO killed and restarted every {EVERY_SECONDS} s during {PUSHES} pushes and {PULLS}"
        " pulls, at least",
        "0 acknowledged lost, 0 wrong bytes; pulls held by the hot tier never fail, others 503"
        " within 15 s and recover by themselves",
        f"{len(seconds)} kills, {len(pushed.manifests) // 2} pushes, {len(lost)} of {len(pushed)}"
        f" entries lost; {pulls.whole.count('warm')} warm and {pulls.whole.count('cold')} cold"
        f" pulls, {len(pulls.wrong)} wrong answers; {len(pulls.refused)} times 503, the slowest"
        f" answer {pulls.slowest['warm']:.1f} s warm, {pulls.slowest['cold']:.1f} s cold; in use"
        f" {max(seconds):.1f} s after a start",
    )
