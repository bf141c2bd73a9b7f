"""Tags of a replica set behave as one register, whatever happens to servers and members."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from tests.counts import count
from tests.faults.images import Answer, Call, digest_of, live, make_image, push, push_manifest
from tests.faults.linearizable import Operation, violation
from tests.faults.pods import MEMBERS, Pod, pods
from tests.figures import record
from tests.live import kill, wait_for

pytestmark = pytest.mark.fault

RUNS = count(1, 20)
SECONDS = count(4, 20)
CLIENTS, PODS = 10, 3
NAME, TAG = "register/tag", "moving"
IMAGE = make_image("register")


class History:
    """What clients asked and were told, by this process's clock."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.warned: list[tuple[float, str]] = []

    def note(
        self, kind: str, value: str | None, call: Callable[[], Answer], known: dict[int, bool]
    ) -> None:
        """Send a request; note it.

        known  statuses that are an answer; whether they mean that a write took effect
        """
        called = time.monotonic()
        try:
            answer = call()
        except requests.RequestException:
            answer = Answer(0, {}, b"")
        ended = time.monotonic() if answer.status in known else None
        if "Warning" in answer.headers:
            self.warned.append((called, answer.headers["Warning"]))
        if kind == "read":
            value = answer.headers.get("Docker-Content-Digest") if answer.status == 200 else None
        if ended and kind == "write" and not known[answer.status]:
            kind, value = "read", None  # a delete of what is absent saw just that
        self.operations.append(Operation(kind, value, called, ended))


def test_tag_histories_are_linearizable(tmp_path: Path) -> None:
    """10 clients over 3 servers that each see the members in their own way."""
    total = answered = 0
    for run in range(RUNS):
        with pods(tmp_path / str(run), PODS) as made:
            push(live(made[0].server), NAME, "first", IMAGE)
            history = _history(made, run)
        operations = history.operations
        total += len(operations)
        answered += sum(op.ended is not None for op in operations)
        wrong = violation(operations)
        assert wrong is None, f"run {run}:\n{_around(wrong, history)}"
        assert sum(op.kind == "read" and op.ended is not None for op in operations) > 20
        assert history.warned == [], "a version whose record and content were acknowledged is here"
    record(
        "R-20",
        f"history of a tag, {CLIENTS} clients, {PODS} servers, a set of {MEMBERS},"
        f" kills, pauses and partitions, {RUNS} runs of {SECONDS} s",
        "linearizable",
        f"0 violations in {total} operations, {answered} of them answered",
    )


def _around(wrong: Operation, history: History) -> str:
    """What happened in the two seconds before an operation, and all that had its value."""
    begin, end = wrong.called - 2, (wrong.ended or wrong.called) + 0.1
    lines = [
        f"{op.called - begin:7.3f} {(op.ended or 999) - begin:7.3f} {op.kind} {str(op.value)[7:15]}"
        for op in sorted(history.operations, key=lambda op: op.called)
        if begin < op.called < end or op.value == wrong.value
    ]
    return "\n".join([*lines, *map(str, history.warned)])


def _history(made: list[Pod], run: int) -> History:
    history, stop = History(), threading.Event()
    clients = [
        threading.Thread(target=_client, args=(made[n % PODS], f"{run} {n}", history, stop))
        for n in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    try:
        _disturb(made, random.Random(f"nemesis {run}"), time.monotonic() + SECONDS)
    finally:
        stop.set()
        for client in clients:
            client.join(60)
    call = live(made[0].server)
    for pod in made:
        wait_for(lambda pod=pod: _reads(live(pod.server)) in (200, 404), 30, "peace")  # type: ignore[misc]
        history.note("read", None, lambda: call("HEAD", _path()), {200: True, 404: True})
    return history


def _client(pod: Pod, seed: str, history: History, stop: threading.Event) -> None:
    rng, mine = random.Random(seed), replace(pod.server, session=requests.Session())
    call = live(mine)
    while not stop.wait(rng.uniform(0.02, 0.25)):
        chance = rng.random()
        if chance < 0.55:
            history.note("read", None, lambda: call("HEAD", _path()), {200: True, 404: True})
        elif chance < 0.95:
            body = _manifest(f"{seed} {rng.random()}")
            put = lambda body=body: push_manifest(call, NAME, TAG, body)  # noqa: E731
            history.note("write", digest_of(body), put, {201: True})
        else:
            delete = lambda: call("DELETE", _path())  # noqa: E731
            history.note("write", None, delete, {202: True, 404: False})
    mine.session.close()


def _disturb(made: list[Pod], rng: random.Random, until: float) -> None:
    """Kill and pause workers, cut pods off from members, one trouble after another."""
    troubles = [_kill, _pause, _cut_one, _cut_two, _cut_all]
    while time.monotonic() < until:
        for trouble in rng.sample(troubles, len(troubles)):
            trouble(made, rng)
            threading.Event().wait(rng.uniform(0.05, 0.5))


def _kill(made: list[Pod], rng: random.Random) -> None:
    server = rng.choice(made).server
    for worker in server.workers():
        kill(worker)
    wait_for(server.workers, 20, "a new worker")


def _pause(made: list[Pod], rng: random.Random) -> None:
    workers = rng.choice(made).server.workers()
    for worker in workers:
        _signal(worker, signal.SIGSTOP)
    threading.Event().wait(rng.uniform(0.2, 1.2))
    for worker in workers:
        _signal(worker, signal.SIGCONT)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it was killed a moment ago


def _cut_one(made: list[Pod], rng: random.Random) -> None:
    _cut(rng.choice(made), rng.sample(range(MEMBERS), 1), rng)


def _cut_two(made: list[Pod], rng: random.Random) -> None:
    _cut(rng.choice(made), rng.sample(range(MEMBERS), 2), rng)


def _cut(pod: Pod, numbers: list[int], rng: random.Random) -> None:
    """One pod does not see these members for a while."""
    for number in numbers:
        pod.cut(number)
    threading.Event().wait(rng.uniform(0.2, 1.2))
    for number in numbers:
        pod.heal(number)


def _cut_all(made: list[Pod], rng: random.Random) -> None:
    """Each pod misses another member."""
    numbers = rng.sample(range(MEMBERS), PODS)
    for pod, number in zip(made, numbers, strict=True):
        pod.cut(number)
    threading.Event().wait(rng.uniform(0.2, 1.2))
    for pod, number in zip(made, numbers, strict=True):
        pod.heal(number)


def _manifest(seed: str) -> bytes:
    return json.dumps({**json.loads(IMAGE.manifest), "annotations": {"n": seed}}).encode()


def _path() -> str:
    return f"/v2/{NAME}/manifests/{TAG}"


def _reads(call: Call) -> int:
    try:
        return call("HEAD", _path()).status
    except requests.RequestException:
        return 0
