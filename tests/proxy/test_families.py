"""Hosts of a family, such as *.pkg.dev: anybody may name any number; that costs next to nothing."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from distserver.config import Config, UpstreamConfig
from distserver.metrics import Metrics
from distserver.proxy import completer
from distserver.proxy import sources as module
from distserver.proxy.sources import Sources
from distserver.proxy.status import Status
from distserver.proxy.upstream.breaker import THRESHOLD, sweep
from distserver.proxy.upstream.connect import breaker_of, connector, upstreams_of
from distserver.proxy.upstream.mode import Mode
from distserver.proxy.upstream.table import Upstream, label_of
from tests.live import wait_for
from tests.proxy.world import world

EUROPE = "europe-docker.pkg.dev"
CONFIG = {"up.site": UpstreamConfig(), EUROPE: UpstreamConfig()}


def found(config: Config, host: str) -> Upstream:
    upstream = upstreams_of(config).find(host)
    assert upstream
    return upstream


def shown(config: Config) -> list[str]:
    return [standing.upstream for standing in Status(config).standings()]


def test_members_share_their_metrics(tmp_path: Path) -> None:
    with world(tmp_path, mode="offline") as w:
        for n in range(5):
            assert w.get(f"/v2/h{n}.pkg.dev/a/b/manifests/v1")[0] == 404
        for host in ("h1.pkg.dev", "h2.pkg.dev"):
            breaker_of(w.state, found(Config(), host), f"https://{host}").succeeded()
        text = w.get("/metrics")[1].decode()
    assert "h1.pkg.dev" not in text
    assert 'distserver_upstream_bytes_total{upstream="*.pkg.dev"} 0.0' in text
    assert text.count('distserver_upstream_up{upstream="*.pkg.dev"} 1.0') == 1


@pytest.mark.parametrize(
    ("host", "label"),
    [
        ("h1.pkg.dev", "*.pkg.dev"),
        ("eu.gcr.io", "*.gcr.io"),
        ("gcr.io", "gcr.io"),
        ("a.b.gcr.io", "a.b.gcr.io"),
        ("up.site", "up.site"),
    ],
)
def test_every_counter_by_upstream_knows_families(host: str, label: str) -> None:
    metrics = Metrics()
    metrics.upstream_requests.labels(host, "ok").inc()
    for counter in (metrics.upstream_bytes, metrics.saved_bytes, metrics.stale_answers):
        counter.labels(host).inc()
    text = metrics.expose([]).decode()
    assert label_of(host) == label
    assert text.count(f'upstream="{label}"') == text.count("upstream=") > 0


def test_members_drive_out_each_other_only(tmp_path: Path) -> None:
    config = Config(state=str(tmp_path), upstream=CONFIG)
    connect = connector(config, Mode(tmp_path, "online"), Metrics())
    sources = Sources(upstreams_of(config), connect, tmp_path / "partial")
    names = ("up.site/a", "ghcr.io/a", f"{EUROPE}/a/b", "gcr.io/a", "eu.gcr.io/a")
    known = [sources.of(name) for name in names]
    for n in range(2 * module.MAX_MEMBERS):
        assert sources.of(f"h{n}.pkg.dev/a/b")
    assert [sources.of(name) for name in names] == known
    assert sum(map(len, sources._uplinks.values())) <= module.MAX_MEMBERS + len(names)


def test_a_member_that_never_answered_leaves_nothing_behind(tmp_path: Path) -> None:
    config = Config(state=str(tmp_path), upstream=CONFIG)
    for host in ("h1.pkg.dev", EUROPE, "ghcr.io"):
        upstream = found(config, host)
        breaker = breaker_of(tmp_path, upstream, upstream.urls[0])
        for _ in range(THRESHOLD):
            breaker.failed("its name cannot be resolved")
        assert not breaker.closed()
    assert sorted(os.listdir(tmp_path / "upstreams")) == [EUROPE, "ghcr.io"]
    assert shown(config) == [EUROPE, "ghcr.io", "up.site"]


def test_a_member_that_answered_once_is_told_of(tmp_path: Path) -> None:
    config = Config(state=str(tmp_path))
    upstream = found(config, "h1.pkg.dev")
    first, second = (breaker_of(tmp_path, upstream, upstream.urls[0]) for _ in range(2))
    first.succeeded()
    for _ in range(THRESHOLD):
        first.failed("it refuses connections")
    assert not second.closed()
    assert shown(config) == ["h1.pkg.dev"]


def test_a_member_that_an_earlier_version_remembered_without_contact_is_not_told_of(
    tmp_path: Path,
) -> None:
    config = Config(state=str(tmp_path))
    for host, contact in (("h1.pkg.dev", 0.0), ("h2.pkg.dev", 1.0)):
        upstream = found(config, host)
        breaker_of(tmp_path, upstream, upstream.urls[0]).succeeded()
        (file,) = (tmp_path / "upstreams" / host).iterdir()
        state = json.loads(file.read_text())
        del state["grown"]
        file.write_text(json.dumps({**state, "url": "https://x", "contact": contact, "new": 1}))
    assert shown(config) == ["h2.pkg.dev"]


def test_what_is_known_of_upstreams_is_forgotten_when_nobody_asks_them(tmp_path: Path) -> None:
    config = Config(state=str(tmp_path))
    for host in ("ghcr.io", "quay.io"):
        upstream = found(config, host)
        breaker_of(tmp_path, upstream, upstream.urls[0]).succeeded()
    (old,) = (tmp_path / "upstreams" / "quay.io").iterdir()
    os.utime(old, (time.time(), time.time() - 91 * 86400))
    sweep(tmp_path)
    assert os.listdir(tmp_path / "upstreams") == ["ghcr.io"]
    sweep(tmp_path / "never-used")


def test_a_server_forgets_them_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completer, "SWEEP_SECONDS", 0.0)
    with world(tmp_path) as w:
        old = w.state / "upstreams" / "old.site" / "x.json"
        old.parent.mkdir(parents=True)
        old.touch()
        os.utime(old, (0, 0))
        w.app.extensions["distserver.after_fork"]()
        wait_for(lambda: not old.parent.exists(), 10, "sweep")
