"""PT-01: what is held is pulled by digest without a word to its upstream."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients.containerd import mirrored, running_containerd
from tests.counts import count
from tests.figures import record
from tests.live import wait_for
from tests.upstreams import acts
from tests.upstreams.asking import Asking, difference
from tests.upstreams.images import digest_of
from tests.upstreams.proxy import Rule
from tests.upstreams.single import NAME, Single, single
from tests.upstreams.site import Place

pytestmark = pytest.mark.fault
LAYER_BYTES = 50_000
CLIENTS = 8
QUIET_SECONDS = 60.0


@pytest.fixture
def cut_off(tmp_path: Path) -> Iterator[tuple[Single, Place]]:
    """An image that is held, and whose upstream takes connections and never answers."""
    with single(tmp_path) as made:
        place = made.image("team/app", LAYER_BYTES)
        assert Asking(made.ours, place).pull() == ""
        wait_for(made.proxy.is_quiet, QUIET_SECONDS, "quiet")
        made.proxy.rule(Rule(acts.hanging))
        made.proxy.cut_off()
        yield made, place


def test_PT_01_pulls_by_digest_ask_nobody(cut_off: tuple[Single, Place]) -> None:
    made, place = cut_off
    pulls, before = count(500, 10_000), (made.proxy.opened, len(made.proxy.seen))
    asking = Asking(made.ours, place)
    with ThreadPoolExecutor(CLIENTS) as pool:
        failures = [failure for failure in pool.map(lambda _: _pull(asking, place), range(pulls))]
    assert [failure for failure in failures if failure] == []
    assert (made.proxy.opened, len(made.proxy.seen)) == before
    experiment = f"{pulls:,} pulls by digest, upstream cut"
    record("PT-01", experiment, "0 upstream connections, 0 failures", "0, 0")


@pytest.mark.client
def test_PT_01_so_does_containerd(cut_off: tuple[Single, Place], tmp_path: Path) -> None:
    made, place = cut_off
    pulls, before = count(5, 100), made.proxy.opened
    reference = f"{NAME}/{place.repository}@{place.image.digest}"
    with running_containerd(tmp_path / "c") as containerd:
        containerd.hosts("_default", mirrored(made.ours.url, made.ours.url))
        for _ in range(pulls):
            assert containerd.pull(reference) == digest_of(place.image.config)
            containerd.forget(reference, place.image.digests)
    assert made.proxy.opened == before
    experiment = f"{pulls:,} pulls by digest with containerd, upstream cut"
    record("PT-01", experiment, "0 upstream connections, 0 failures", "0, 0")


def _pull(asking: Asking, place: Place) -> str:
    """All parts by digest; "" or what went wrong."""
    image = place.image
    for wanted in image.manifests:
        if failure := difference(asking.manifest(digest_of(wanted)), wanted):
            return failure
    for wanted in image.blobs:
        if failure := difference(asking.blob(digest_of(wanted)), wanted):
            return failure
    return ""
