"""How a held tag is validated: modes, times of tags, deadlines, what a failing upstream costs."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from distserver.config import UpstreamConfig
from distserver.proxy import manifests as module
from distserver.proxy.upstream import uplink
from tests.live import wait_for
from tests.proxy.scripted import Asked, Reply
from tests.proxy.world import LAYER, TAG, World, digest, image, pull, world

ALWAYS = UpstreamConfig(tag_ttl_seconds=0)


def slow(w: World, seconds: float) -> Callable[[], None]:
    """Let the upstream hold every answer back; returns what lets it go on."""
    go, script = threading.Event(), w.script

    def held_back(asked: Asked) -> Reply:
        go.wait(seconds)
        return script(asked)

    w.script = held_back  # type: ignore[method-assign]
    return go.set


def test_PT_05_offline_is_quick_and_silent(tmp_path: Path) -> None:
    with world(tmp_path, ALWAYS) as w:
        pull(w)
        asked = len(w.upstream.asked)
        w.switch("offline")
        pull(w)
        missing = [TAG.replace("v1", "v9"), f"/v2/up.site/team/app/blobs/{digest(b'no')}"]
        missing += [f"/v2/up.site/team/app/manifests/{digest(b'no')}"]
        missing += ["/v2/up.site/team/never/tags/list"]
        for path in missing:
            for method in ("GET", "HEAD"):
                assert w.get(path, method)[0] == 404, path
        assert w.get(f"/v2/up.site/team/app/referrers/{digest(LAYER)}")[0] == 200
        assert len(w.upstream.asked) == asked
        w.switch(None)
        assert w.get(TAG)[0] == 200
        assert len(w.upstream.asked) > asked


def test_PT_05_offline_in_the_configuration_can_be_switched_off(tmp_path: Path) -> None:
    with world(tmp_path, ALWAYS, mode="offline") as w:
        assert w.get(TAG)[0] == 404
        w.switch("online")
        pull(w)


def test_PT_05_what_is_incomplete_is_404_offline(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        assert w.get(TAG)[0] == 200
        w.switch("offline")
        assert w.get(TAG)[0] == 404


def test_prefer_cache_answers_at_once_and_asks_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path / "seldom", ALWAYS, mode="prefer-cache") as w:
        pull(w)
        w.upstream.asked.clear()
        assert w.get(TAG)[0] == 200
        assert w.upstream.asked == []
    monkeypatch.setattr(module, "BACKGROUND_SECONDS", 0.0)
    with world(tmp_path, ALWAYS, mode="prefer-cache") as w:
        pull(w)
        old, new = w.manifests["v1"], w.tag("v1", image(annotations={"n": "2"}))
        let_go = slow(w, 20)
        w.upstream.asked.clear()
        begun = time.monotonic()
        assert w.get(TAG)[:2] == (200, old)
        assert time.monotonic() - begun < 1
        let_go()
        wait_for(lambda: w.get(TAG)[1] == new, 10, "new image")


def test_PT_02_a_slow_upstream_is_waited_for_a_moment_and_asked_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """600 ms of latency, a token, TLS: validation may need longer than a client can wait."""
    monkeypatch.setattr(module, "REVALIDATE_SECONDS", 0.1)
    with world(tmp_path, ALWAYS) as w:
        pull(w)
        old, new = w.manifests["v1"], w.tag("v1", image(annotations={"n": "2"}))
        let_go = slow(w, 20)
        status, body, headers = w.get(TAG)
        assert (status, body) == (200, old)
        assert "stale" in headers["Warning"]
        let_go()
        wait_for(lambda: w.get(TAG)[1] == new, 10, "new image")


def test_PT_02_many_clients_cost_one_question(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        pull(w)
        shutil.rmtree(w.state / "fresh")  # its time is over
        let_go, results = slow(w, 20), []
        w.upstream.asked.clear()
        client = w.app.test_client
        threads = [
            threading.Thread(target=lambda: results.append(client().get(TAG).status_code))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        wait_for(lambda: w.upstream.asked, 10, "question")
        let_go()
        for thread in threads:
            thread.join(20)
        assert results == [200] * 8
        heads = [asked for asked in w.upstream.asked if asked.method == "HEAD"]
        assert len(heads) == 1


def test_times_of_tags_by_pattern(tmp_path: Path) -> None:
    table = UpstreamConfig(tag_ttl_seconds=0, tag_ttls={"team/*:v*": -1})
    with world(tmp_path, table) as w:
        pull(w)
        w.tag("latest", w.manifests["v1"])
        w.get(TAG.replace("v1", "latest"))
        w.upstream.asked.clear()
        w.get(TAG)
        assert w.upstream.asked == []
        w.get(TAG.replace("v1", "latest"))
        assert len(w.upstream.asked) == 1


def test_PT_03_deletes_are_honoured_where_that_is_configured(tmp_path: Path) -> None:
    with world(tmp_path, UpstreamConfig(tag_ttl_seconds=0, honour_deletes=True)) as w:
        pull(w)
        by_digest = f"/v2/up.site/team/app/manifests/{digest(w.manifests['v1'])}"
        del w.manifests["v1"]
        assert w.get(TAG)[0] == 404
        assert w.get(by_digest)[0] == 200
        w.down = 503
        assert w.get(TAG)[0] in (404, 503)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_whatever_the_upstream_says_a_held_tag_is_served(tmp_path: Path, status: int) -> None:
    with world(tmp_path, ALWAYS) as w:
        pull(w)
        w.down = status
        for _ in range(5):
            answer, body, headers = w.get(TAG)
            assert (answer, body) == (200, w.manifests["v1"])
            assert headers["Warning"].startswith('299 - "stale: ')


def test_a_silent_upstream_costs_a_miss_its_deadline_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink.Uplink.ask, "__defaults__", (0.2, ()))
    with world(tmp_path, ALWAYS) as w:
        let_go = slow(w, 60)
        missing = [TAG.replace("v1", f"v{n}") for n in range(20)]
        begun = time.monotonic()
        assert {w.get(path)[0] for path in missing} == {503}
        assert time.monotonic() - begun < 5
        assert len(w.upstream.asked) == 3
        let_go()
