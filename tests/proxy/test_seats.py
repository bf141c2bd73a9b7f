"""Clients that wait for a silent upstream leave threads for those that want what is held."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live import wait_for
from tests.proxy.scripted import Asked, Reply
from tests.proxy.world import LAYER, TAG, World, digest, pull, world

OTHER = "/v2/up.site/team/other"
QUESTIONS: dict[str, Callable[[int], str]] = {
    "manifests": lambda n: f"{OTHER}/manifests/v{n}",
    "blobs": lambda n: f"{OTHER}/blobs/sha256:{n:064d}",
    "tags": lambda n: f"{OTHER}{n}/tags/list",
    "referrers": lambda n: f"{OTHER}/referrers/sha256:{n:064d}",
}


@pytest.mark.parametrize("kind", QUESTIONS)
def test_a_quarter_of_the_threads_waits_for_no_upstream(tmp_path: Path, kind: str) -> None:
    with world(tmp_path, threads=4) as w:
        pull(w)
        before, go = len(w.upstream.asked), silent(w)
        waiting = [threading.Thread(target=ask, args=(w, QUESTIONS[kind](n))) for n in range(2)]
        for thread in waiting:
            thread.start()
        wait_for(lambda: len(w.upstream.asked) >= before + 2, 10, "questions")
        status, body, _ = w.get(QUESTIONS[kind](2))
        assert status == 503
        assert b"as many clients as may be" in body
        assert w.get(TAG)[0] == 200
        assert w.get(f"/v2/up.site/team/app/blobs/{digest(LAYER)}")[0] == 200
        go.set()
        for thread in waiting:
            thread.join(30)


def ask(w: World, path: str) -> None:
    """Ask ours, in a client of this thread."""
    w.app.test_client().get(path)


def silent(w: World) -> threading.Event:
    """Let the upstream say nothing until the event is set."""
    go = threading.Event()

    def waiting(asked: Asked) -> Reply:
        go.wait(20)
        return 404, {}, b""

    w.script = waiting  # type: ignore[method-assign]
    return go
