"""Mixed traffic of clients: questions whose answers are known, asked again and again."""

from __future__ import annotations

import http.client
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.links.readers import crowd, percentile


@dataclass(frozen=True)
class Question:
    """A request, and the status that it has to be answered with.

    hit  whether the answer is what the server holds; else it is a miss
    """

    method: str
    path: str
    status: int

    @property
    def hit(self) -> bool:
        return self.status == 200


@dataclass
class Traffic:
    """What came of it.

    wrong   answers of another status, as "METHOD path: status"
    hits    seconds of each hit, misses likewise
    """

    wrong: Counter[str] = field(default_factory=Counter)
    hits: list[float] = field(default_factory=list)
    misses: list[float] = field(default_factory=list)

    @property
    def slow_miss(self) -> float:
        """Seconds that 99 % of the misses did not exceed."""
        return percentile(self.misses, 0.99)


def asked_and_held(base: str, tag: str, digest: str, layer: str) -> list[Question]:
    """All ways to ask for an image that is held."""
    paths = [f"{base}/manifests/{tag}", f"{base}/manifests/{digest}", f"{base}/blobs/{layer}"]
    return [Question(method, path, 200) for path in paths for method in ("GET", "HEAD")]


def asked_and_missed(base: str, query: str = "") -> list[Question]:
    """All ways to ask a repository for what nobody here has."""
    absent = "sha256:" + "5" * 64
    ends = ("manifests/none", f"manifests/{absent}", f"blobs/{absent}")
    return [Question(m, f"{base}/{end}{query}", 404) for end in ends for m in ("GET", "HEAD")]


def send(host: str, questions: Sequence[Question], seconds: float, clients: int = 4) -> Traffic:
    """Let so many clients ask at random for so long, each by one connection."""
    traffic, deadline = Traffic(), time.monotonic() + seconds

    def ask_on(number: int) -> None:
        rng, connection = random.Random(number), http.client.HTTPConnection(host, timeout=30)
        while time.monotonic() < deadline:
            _ask(connection, rng.choice(questions), traffic)
        connection.close()

    with crowd(clients, ask_on, seconds + 60):
        pass
    return traffic


def _ask(connection: http.client.HTTPConnection, question: Question, traffic: Traffic) -> None:
    begin = time.monotonic()
    connection.request(question.method, question.path)
    with connection.getresponse() as answer:
        answer.read()
    took = time.monotonic() - begin
    (traffic.hits if question.hit else traffic.misses).append(took)
    if answer.status != question.status:
        traffic.wrong[f"{question.method} {question.path}: {answer.status}"] += 1
