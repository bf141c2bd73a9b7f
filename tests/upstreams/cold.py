"""The cells of the fault table where we hold nothing of the image."""

from __future__ import annotations

import functools

from tests.upstreams.cells import CLIENT_SECONDS, HEALED_SECONDS, OPEN_SECONDS, SLACK, Cell
from tests.upstreams.report import patiently


def pull_cold(cell: Cell) -> None:
    """Spoil the site before anybody asked for the image; pull it; heal the site; pull it again."""
    cell.fault.begin(cell.site)
    _ask_first(cell)
    _pull_alone(cell)
    _pull_with_next_host(cell)
    cell.site.heal()
    _pull_healed(cell)


def _ask_first(cell: Cell) -> None:
    fault, report = cell.fault, cell.report
    first = cell.asking.tag()
    report.figures["first answer"] = f"{first.status} in {first.seconds:.2f} s"
    if fault.works or fault.manifests:
        report.check(first.status == 200, f"HEAD of the tag is answered {first.status}")
        return
    report.check(first.status in fault.statuses, f"HEAD of the tag is answered {first.status}")
    report.check(
        first.seconds <= fault.seconds + SLACK,
        f"the first error took {first.seconds:.1f} s, not {fault.seconds} s",
    )
    if first.status:
        _ask_again(cell)


def _ask_again(cell: Cell) -> None:
    """Three failures are enough to know that an upstream is away."""
    report = cell.report
    answers = [cell.asking.tag("GET") for _ in range(3)]
    last = answers[-1]
    report.figures["then"] = f"{last.status} in {last.seconds:.2f} s"
    report.check(
        last.seconds <= OPEN_SECONDS + SLACK, f"the fourth error took {last.seconds:.1f} s"
    )
    for answer in answers:
        report.check(answer.status in cell.fault.statuses, f"GET is answered {answer.status}")
        report.check(bool(answer.code), f"no error as the spec has it: {answer.body[:200]!r}")
        waits = "Retry-After" in answer.headers
        report.check(waits or answer.status != 503, "a 503 without Retry-After")


def _pull_alone(cell: Cell) -> None:
    """Through us alone: the image where the fault lets it through, else an error; never a hang."""
    cell.stay()
    for name, failure in cell.report.together(cell.pulls, "alone", CLIENT_SECONDS).items():
        good = not failure if cell.fault.works else bool(failure)
        cell.report.check(good, f"{name} alone: {failure or 'pulls what cannot come'}")
        cell.report.check("HANGS" not in failure, f"{name} alone: {failure}")
        cell.report.check("COMPLETE" not in failure, f"{name} alone: {failure}")


def _pull_with_next_host(cell: Cell) -> None:
    """With the upstream itself as the next host, every client gets the image."""
    cell.forget()
    cell.fall_back()
    clients = {"containerd": cell.containerd_further, "skopeo": cell.skopeo_further}
    failures = cell.report.together(clients, "with a next host", CLIENT_SECONDS)
    for name, failure in failures.items():
        cell.report.check(not failure, f"{name} with a next host: {failure}")


def _pull_healed(cell: Cell) -> None:
    """Nothing wrong was kept, and we learn by ourselves that the upstream is back."""
    cell.stay()
    cell.forget()
    attempts = {
        name: functools.partial(patiently, pull, HEALED_SECONDS - 5)
        for name, pull in cell.pulls.items()
    }
    for name, failure in cell.report.together(attempts, "afterwards", HEALED_SECONDS).items():
        cell.report.check(not failure, f"{name} after the fault: {failure}")
