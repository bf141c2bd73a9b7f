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
from tests.upstreams.report import Attempt, Report, patiently
from tests.upstreams.site import Site
from tests.upstreams.world import World

SLACK = 1.0
FIRST_SECONDS = 2.5
OPEN_SECONDS = 1.0
LATENCY_SECONDS = 0.5
"""Ten times what is promised: the machine of a test has other work."""
CLIENT_SECONDS = 60.0
HEALED_SECONDS = 60.0


@dataclass(repr=False)
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

    def containerd_further(self) -> str:
        """Pull by CRI; again, as kubelet would, if wrong bytes came: nobody can take them back."""
        return patiently(self.containerd, CLIENT_SECONDS - 5 if self.fault.again else 0)

    def skopeo(self) -> str:
        """Pull by skopeo through us alone; return "" or why it failed."""
        return self.world.skopeo.pull(self.site)

    def skopeo_further(self) -> str:
        """Pull by skopeo with the upstream itself behind us; again and again while it fails.

        skopeo stays with the host that gave it the manifest: it may need a second try, for which
        that manifest is not offered any more.
        """
        upstream = self.world.registry.host
        return patiently(lambda: self.world.skopeo.pull(self.site, upstream), CLIENT_SECONDS - 5)

    @property
    def pulls(self) -> dict[str, Attempt]:
        """The image by each client, through us alone."""
        asked = {"requests": self.asking.pull}
        return {**asked, "containerd": self.containerd, "skopeo": self.skopeo}


def hold(cell: Cell) -> None:
    """Pull the image whole through us, then spoil the site, and ask for the tag a few times."""
    failure = patiently(cell.asking.pull, HEALED_SECONDS)
    if not cell.report.check(not failure, f"not even before the fault: {failure}"):
        return
    cell.fault.begin(cell.site)
    answer = cell.asking.tag()
    cell.report.figures["first answer"] = f"{answer.seconds:.2f} s"
    _check_held(cell, answer)
    for _ in range(4):
        if answer.status:
            answer = cell.asking.tag()
            _check_held(cell, answer)


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
    for name, failure in cell.report.together(cell.pulls, "held", CLIENT_SECONDS).items():
        cell.report.check(not failure, f"{name} fails though all is held: {failure}")


def measure_held(cell: Cell) -> None:
    """The time of a HEAD of the tag, when it is known that the upstream is of no use."""
    if cell.fault.validates or cell.report.problems:
        return  # each HEAD takes the upstream's time; or was seen to take too long
    times = [cell.asking.tag().seconds for _ in range(count(200, 2000))]
    p99 = statistics.quantiles(times, n=100)[98]
    cell.report.figures["p99"] = f"{1000 * p99:.1f} ms"
    cell.report.check(p99 <= LATENCY_SECONDS, f"99 % of HEADs take up to {1000 * p99:.0f} ms")
