"""An upstream that never answers costs those who ask for it, and nobody else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.counts import count
from tests.figures import record
from tests.live import Server, running, start_server, wait_for
from tests.upstreams import acts
from tests.upstreams.asking import Asking
from tests.upstreams.images import make, push
from tests.upstreams.proxy import FaultProxy, Rule, fault_proxy
from tests.upstreams.registries import Registry, registry
from tests.upstreams.single import table
from tests.upstreams.site import Place

pytestmark = pytest.mark.fault
GOOD, SILENT = "good.site", "silent.site"
LAYER_BYTES = 50_000
FIRST_SECONDS = 3.0
COMPLETED_SECONDS = 15.0
HEALTH_SECONDS = 1.0
SILENT_SECONDS = 20.5


@dataclass(frozen=True)
class Two:
    """A good upstream, and one that never answers, before one registry."""

    ours: Server
    registry: Registry
    good: FaultProxy
    silent: FaultProxy

    def image(self, host: str, repository: str) -> Place:
        """Push an image to the upstreams, where nobody has asked for it yet."""
        image = make(repository, LAYER_BYTES)
        push(image, self.registry.url, repository)
        return Place(host, repository, image)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    """With as many threads as there are by default."""
    config = tmp_path / "config.toml"
    with (
        registry(tmp_path / "upstream") as upstream,
        fault_proxy(upstream.address) as silent,
        fault_proxy(upstream.address) as good,
    ):
        config.write_text(table(SILENT, silent.url) + table(GOOD, good.url))
        arguments = ("--workers", "2", "--config", str(config))
        env = {"DISTSERVER_TAG_TTL_SECONDS": "0"}
        with running(start_server(tmp_path / "ours", *arguments, env=env)) as ours:
            yield Two(ours, upstream, good, silent)


def test_others_are_served_while_many_wait_for_a_silent_upstream(two: Two) -> None:
    """Pods of 100 nodes want images that nobody has; a node next door pulls as if nothing was."""
    waiting = count(60, 300)
    held, cold = two.image(GOOD, "held"), two.image(GOOD, "cold")
    assert Asking(two.ours, held).pull() == ""
    two.silent.rule(Rule(acts.hanging))
    absent = [Place(SILENT, f"absent/{n}", held.image) for n in range(waiting)]
    with ThreadPoolExecutor(waiting) as pool:
        asked = [pool.submit(Asking(two.ours, place).tag) for place in absent]
        wait_for(lambda: two.silent.seen, 10, "a question to the silent upstream")
        health = two.ours.request("GET", "/healthz", timeout=60).elapsed.total_seconds()
        tag = Asking(two.ours, held).tag()
        failures = [Asking(two.ours, place).pull() for place in (held, cold)]
        slowest = max(one.result().seconds for one in asked)
    figure = f"health {health:.2f} s, held tag {tag.seconds:.2f} s, slowest error {slowest:.1f} s"
    record("R-10", f"{waiting} clients of a silent upstream", "others do not notice", figure)
    assert (tag.status, failures) == (200, ["", ""])
    assert (health <= HEALTH_SECONDS, tag.seconds <= FIRST_SECONDS) == (True, True)
    assert slowest <= SILENT_SECONDS


def test_one_upstream_s_stalled_layers_do_not_hold_up_another_s(two: Two) -> None:
    """Images whose layers never come wait in the background; another's is completed meanwhile."""
    stalled = count(12, 70)
    two.silent.rule(Rule(acts.hanging, "/blobs/"))
    for number in range(stalled):
        _begin(two, two.image(SILENT, f"stalled/{number}"))
    beside = two.image(GOOD, "beside")
    begin = time.monotonic()
    _begin(two, beside)
    layer = f"GET .*{beside.layer}"
    wait_for(lambda: two.good.sent(layer) >= len(beside.image.layer), COMPLETED_SECONDS, "layer")
    figure = f"completed after {time.monotonic() - begin:.1f} s"
    record("R-10", f"{stalled} stalled images of another upstream", "not held up", figure)


def _begin(two: Two, place: Place) -> None:
    """Ask for the manifests of an image, and not for what they name."""
    asking = Asking(two.ours, place)
    assert asking.tag("GET").status == 200
    assert asking.manifest(place.image.digests[1]).status == 200
