"""What is done in each cell of the fault table: a fault, and how much of the image we have."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

import grpc

from tests.clients.containerd import mirrored
from tests.counts import count
from tests.upstreams.asking import Answer, Asking
from tests.upstreams.faults import Fault
from tests.upstreams.images import digest_of
from tests.upstreams.report import Report, patiently
from tests.upstreams.site import Site
from tests.upstreams.world import World

SLACK = 0.5
FIRST_SECONDS = 2.5
OPEN_SECONDS = 1.0
LATENCY_SECONDS = 0.25
"""Five times what is promised: the machine of a test has other work."""
CLIENT_SECONDS = 60.0
HEALED_SECONDS = 60.0


@dataclass
class Cell:
    """A fault and its site, with what is found out about them."""

    world: World
    fault: Fault
    site: Site
    report: Report = field(default_factory=Report)

    @property
    def asking(self) -> Asking:
        """Plain requests of the site's image."""
        return Asking(self.world.ours, self.site)

    def containerd(self) -> str:
        """Pull by CRI; return "" or why it failed."""
        wanted = digest_of(self.site.image.config)
        try:
            pulled = self.world.containerd.pull(self.site.reference, CLIENT_SECONDS + 5)
        except grpc.RpcError as exc:
            hung = exc.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            return f"{'HANGS: ' if hung else ''}{exc.details()}"
        return "" if pulled == wanted else f"containerd has {pulled} instead of {wanted}"

    def forget(self) -> None:
        """Take the image out of containerd."""
        self.world.containerd.forget(self.site.reference, self.site.image.digests)

    def fall_back(self) -> None:
        """Let containerd go to the upstream itself when our server fails."""
        ours, upstream = self.world.ours.url, self.world.registry.url
        self.world.containerd.hosts(self.site.name, mirrored(ours, upstream))

    def stay(self) -> None:
        """Let containerd go to our server alone."""
        ours = self.world.ours.url
        self.world.containerd.hosts(self.site.name, mirrored(ours, ours))

    def skopeo(self, *upstream: str) -> str:
        """Pull by skopeo; return "" or why it failed."""
        return self.world.skopeo.pull(self.site, *upstream)


def hold(cell: Cell) -> None:
    """Pull the image whole through us, then spoil the site, and ask for the tag a few times."""
    failure = patiently(cell.asking.pull, HEALED_SECONDS)
    if not cell.report.check(not failure, f"not even before the fault: {failure}"):
        return
    cell.fault.begin(cell.site)
    for turn in range(5):
        answer = cell.asking.tag()
        _check_held(cell, answer)
        if not turn:
            cell.report.figures["first answer"] = f"{answer.seconds:.2f} s"


def _check_held(cell: Cell, answer: Answer) -> None:
    report = cell.report
    report.check(answer.status == 200, f"HEAD of the tag is answered {answer.status}")
    report.check(
        answer.seconds <= FIRST_SECONDS + SLACK, f"HEAD of the tag took {answer.seconds:.1f} s"
    )
    given = answer.headers.get("Docker-Content-Digest")
    report.check(given == cell.site.image.digest, f"the tag names {given}")
    warning = answer.headers.get("Warning", "")
    stale = warning.startswith('299 - "')
    report.check(stale or cell.fault.validates, f"no warning of stale content: {warning!r}")


def pull_held(cell: Cell) -> None:
    """What is held pulls through us alone, whatever the upstream does."""
    for name, pull in (("containerd", cell.containerd), ("skopeo", cell.skopeo)):
        with cell.report.timed(name, CLIENT_SECONDS):
            failure = pull()
        cell.report.check(not failure, f"{name} fails though all is held: {failure}")


def measure_held(cell: Cell) -> None:
    """The time of a HEAD of the tag, when it is known that the upstream is away."""
    times = [cell.asking.tag().seconds for _ in range(count(200, 2000))]
    p99 = statistics.quantiles(times, n=100)[98]
    cell.report.figures["p99"] = f"{1000 * p99:.1f} ms"
    cell.report.check(p99 <= LATENCY_SECONDS, f"99 % of HEADs take up to {1000 * p99:.0f} ms")
