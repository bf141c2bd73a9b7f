"""A tag that its upstream moves or deletes, and the link drops, or somebody pushes, meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from distserver.config import UpstreamConfig
from distserver.oci.manifests import OCI_MANIFEST
from distserver.proxy import manifests as module
from tests.live import wait_for
from tests.proxy.scripted import Asked, Reply
from tests.proxy.world import TAG, World, image, pull, world

ALWAYS_ASKED = UpstreamConfig(tag_ttl_seconds=0)


@pytest.mark.parametrize("mode", ["online", "prefer-cache"])
def test_what_is_held_whole_is_served_until_what_the_tag_moved_to_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(module, "BACKGROUND_SECONDS", 0.0)
    with world(tmp_path, ALWAYS_ASKED) as w:
        pull(w)
        old, layer = w.manifests["v1"], b"n" * 300_000
        new = w.tag("v1", image(layer))
        w.switch(mode)
        wait_for(lambda: w.get(TAG)[1] == new, 20, "the moved tag")
        w.down = 503
        wait_for(lambda: w.get(TAG)[1] == old, 20, "the whole image")
        status, _, headers = w.get(TAG, "HEAD")
        assert status == 200
        assert "stale" in headers["Warning"]
        w.switch("offline")
        assert w.get(TAG)[:2] == (200, old)
        w.down = 0
        w.switch("online")
        wait_for(lambda: w.get(TAG)[1] == new, 20, "the moved tag again")


def test_what_was_deleted_here_does_not_come_back_for_a_moved_tag(tmp_path: Path) -> None:
    with world(tmp_path, ALWAYS_ASKED, deletes_enabled=True) as w:
        pull(w)
        assert w.ours.delete(TAG).status_code == 202
        new = w.tag("v1", image(b"n" * 300_000))
        assert w.get(TAG)[:2] == (200, new)
        w.switch("offline")
        assert w.get(TAG)[0] == 404


def test_a_push_while_the_upstream_says_deleted_stays(tmp_path: Path) -> None:
    with world(tmp_path, UpstreamConfig(tag_ttl_seconds=0, honour_deletes=True)) as w:
        pull(w)
        del w.manifests["v1"]
        go = held_up(w)
        puller = threading.Thread(target=lambda: w.app.test_client().get(TAG))
        puller.start()
        wait_for(lambda: w.upstream.asked[-1].method == "HEAD", 10, "question")
        mine = image(annotations={"whose": "mine"})
        assert w.ours.put(TAG, data=mine, content_type=OCI_MANIFEST).status_code == 201
        go.set()
        puller.join(20)
        assert w.get(TAG)[:2] == (200, mine)


def held_up(w: World) -> threading.Event:
    """Let the upstream hold back answers to HEAD until the event is set."""
    go, script = threading.Event(), w.script

    def waiting(asked: Asked) -> Reply:
        if asked.method == "HEAD":
            go.wait(20)
        return script(asked)

    w.script = waiting  # type: ignore[method-assign]
    return go
