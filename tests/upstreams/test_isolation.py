"""An upstream that never answers costs those who ask for it, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.counts import count
from tests.figures import record
from tests.live import running, start_server, wait_for
from tests.upstreams import acts
from tests.upstreams.asking import Asking
from tests.upstreams.images import make, push
from tests.upstreams.proxy import Rule, fault_proxy
from tests.upstreams.registries import registry
from tests.upstreams.report import patiently
from tests.upstreams.single import Single, table
from tests.upstreams.site import Place

pytestmark = pytest.mark.fault
SILENT = "silent.site"
LAYER_BYTES = 50_000
FIRST_SECONDS = 3.0
PULL_SECONDS = 10.0
HEALTH_SECONDS = 1.0


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Single]:
    """A good upstream, and one that never answers; as many threads as there are by default."""
    config = tmp_path / "config.toml"
    with (
        registry(tmp_path / "upstream") as upstream,
        fault_proxy(upstream.address) as silent,
        fault_proxy(upstream.address) as good,
    ):
        config.write_text(table(SILENT, silent.url) + table("up.site", good.url))
        arguments = ("--workers", "2", "--config", str(config))
        env = {"DISTSERVER_TAG_TTL_SECONDS": "0"}
        with running(start_server(tmp_path / "ours", *arguments, env=env)) as ours:
            silent.rule(Rule(acts.hanging))
            yield Single(ours, silent, upstream)


def test_others_are_served_while_many_wait_for_a_silent_upstream(two: Single) -> None:
    """Pods of 100 nodes want images that nobody has; a node next door pulls as if nothing was."""
    waiting = count(60, 300)
    held, cold = (two.image(name, LAYER_BYTES) for name in ("held", "cold"))
    assert Asking(two.ours, held).pull() == ""
    absent = [Place(SILENT, f"absent/{n}", held.image) for n in range(waiting)]
    with ThreadPoolExecutor(waiting) as pool:
        asked = [pool.submit(Asking(two.ours, place).tag) for place in absent]
        wait_for(lambda: two.proxy.seen, 10, "a question to the silent upstream")
        health = two.ours.request("GET", "/healthz", timeout=60).elapsed.total_seconds()
        tag = Asking(two.ours, held).tag()
        failures = [Asking(two.ours, place).pull() for place in (held, cold)]
        slowest = max(one.result().seconds for one in asked)
    figure = f"health {health:.2f} s, held tag {tag.seconds:.2f} s, slowest error {slowest:.1f} s"
    record("R-10", f"{waiting} clients of a silent upstream", "others do not notice", figure)
    assert (tag.status, failures) == (200, ["", ""])
    assert health <= HEALTH_SECONDS
    assert tag.seconds <= FIRST_SECONDS


def test_one_upstream_s_stalled_layers_do_not_hold_up_another_s(two: Single) -> None:
    """Images whose layers never come wait in the background; others' are completed meanwhile."""
    stalled = count(12, 70)
    two.proxy.rule(Rule(acts.hanging, "/blobs/"))
    for number in range(stalled):
        image = make(f"stalled/{number}", LAYER_BYTES)
        push(image, two.registry.url, f"stalled/{number}")
        asking = Asking(two.ours, Place(SILENT, f"stalled/{number}", image))
        assert asking.tag("GET").status == 200
        assert asking.manifest(image.digests[1]).status == 200
    cold = two.image("beside", LAYER_BYTES)
    assert patiently(Asking(two.ours, cold).pull, PULL_SECONDS) == ""
    record("R-10", f"{stalled} stalled images of another upstream", "others are pulled", "pulled")
