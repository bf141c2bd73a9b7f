"""The cells of the fault table where half of the layer is here when the fault begins."""

from __future__ import annotations

import functools
from concurrent.futures import Future, ThreadPoolExecutor

from tests.live import wait_for
from tests.upstreams import cuts
from tests.upstreams.cells import CLIENT_SECONDS, HEALED_SECONDS, SLACK, Cell
from tests.upstreams.faults import HALF
from tests.upstreams.follower import Follower
from tests.upstreams.images import digest_of
from tests.upstreams.proxy import Rule
from tests.upstreams.report import patiently

CLOSED_SECONDS = 35.0
BEGIN_SECONDS = 30.0
COMPLETED_SECONDS = 120.0
"""The longest pause of a breaker and then of the work in the background, and what is before it."""


def pull_half(cell: Cell) -> None:
    """Spoil the site when half of the layer has come to three clients; heal it; wait for the rest.

    The clients are a reader of the layer, containerd and skopeo, the latter two with the upstream
    itself as their next host.
    """
    cell.fall_back()
    cell.site.proxy.rule(Rule(cuts.stalling(HALF), f"^GET .*{cell.site.layer}"))
    with ThreadPoolExecutor(2) as pool, Follower(cell.world.ours, _layer_path(cell)) as follower:
        clients = _begin(cell, pool, follower)
        cell.fault.begin(cell.site)
        _check_reader(cell, follower)
        _check_clients(cell, *clients)
    cell.site.heal()
    _check_completed(cell)


def _layer_path(cell: Cell) -> str:
    return cell.asking.path(f"blobs/{cell.site.layer}")


def _begin(cell: Cell, pool: ThreadPoolExecutor, follower: Follower) -> list[Future[str]]:
    for wanted in cell.site.image.manifests:
        assert cell.asking.manifest(digest_of(wanted)).body == wanted
    follower.start()
    wait_for(lambda: cell.site.layer_bytes() >= HALF, BEGIN_SECONDS, "half of the layer")
    wait_for(lambda: follower.count, BEGIN_SECONDS, "first byte")
    return [pool.submit(cell.containerd_further), pool.submit(cell.skopeo_further)]


def _check_reader(cell: Cell, follower: Follower) -> None:
    """The reader gets the rest, or is told by FIN that it should look elsewhere."""
    report = cell.report
    follower.join(2 * CLOSED_SECONDS)
    report.figures["reader"] = (
        f"{follower.count:,} bytes, {follower.end} after {follower.idle:.1f} s"
    )
    report.check(follower.idle <= CLOSED_SECONDS + 1, f"no end for {follower.idle:.1f} s")
    if follower.data == cell.site.image.layer:
        return
    report.check(not cell.fault.works, f"the reader has only {follower.count} bytes")
    report.check(follower.end == "FIN", f"the reader is told by {follower.end!r}, not by FIN")
    resumed = cell.asking.blob(cell.site.layer, follower.count)
    report.figures["resume"] = f"{resumed.status} in {resumed.seconds:.1f} s"
    report.check(resumed.status in (206, 503, *cell.fault.statuses), f"a resume: {resumed.status}")
    limit = cell.fault.seconds + SLACK
    report.check(resumed.seconds <= limit, f"a resume took {resumed.seconds:.1f} s, not {limit} s")


def _check_clients(cell: Cell, containerd: Future[str], skopeo: Future[str]) -> None:
    for name, pulled in (("containerd", containerd), ("skopeo", skopeo)):
        failure = pulled.result(3 * CLIENT_SECONDS)
        cell.report.check(not failure, f"{name} with a next host: {failure}")


def _check_completed(cell: Cell) -> None:
    """Nobody asks for the layer: we go on with it by ourselves."""
    report, site = cell.report, cell.site
    size = len(site.image.layer)
    wait = functools.partial(patiently, lambda: _missing(cell, size), COMPLETED_SECONDS)
    failure = report.timed(wait, "completed", COMPLETED_SECONDS + 1)
    report.check(not failure, f"not completed by itself: {failure}")
    failure = patiently(cell.asking.pull, HEALED_SECONDS)
    report.check(not failure, f"a pull after the fault: {failure}")
    factor = site.layer_bytes() / size
    report.figures["upstream"] = f"{factor:.3f} × the layer"
    ok = factor <= 1.1 or cell.fault.again
    report.check(ok, f"the upstream sent {factor:.2f} × the layer: {site.layer_pieces()}")


def _missing(cell: Cell, size: int) -> str:
    reached = cell.site.layer_reached()
    return "" if reached >= size else f"{size - reached} of {size} bytes are missing"
