"""The OCI conformance suite on one process and on three over one storage: a command.

With --quick only the newest version, on one. Ends with 1 on any failure, on a skip without a known
reason, or if a program is missing.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.conformance.suite import KNOWN_SKIPS, Report, run_suite
from tests.figures import record
from tests.haproxy import round_robin
from tests.live import start_server

ONE, THREE = "one process", "three processes, round-robin"


def main() -> int:
    """Run every version on every arrangement, print what came out, return the exit code."""
    missing = [name for name in ("conformance", "haproxy") if shutil.which(name) is None]
    if missing:
        print(f"not installed: {', '.join(missing)} (`make components` installs them)")
        return 1
    reports = {}
    quick = "--quick" in sys.argv[1:]
    arrangements = [(ONE, 1)] if quick else [(ONE, 1), (THREE, 3)]
    versions = list(KNOWN_SKIPS)[-1:] if quick else list(KNOWN_SKIPS)
    with tempfile.TemporaryDirectory() as scratch:
        for arrangement, processes in arrangements:
            for version in versions:
                directory = Path(scratch) / f"{processes}-{version}"
                with _registry(directory, processes) as host:
                    report = run_suite(host, version, directory / "results")
                reports[arrangement, version] = report
                _record(arrangement, version, report)
    _print_details(reports)
    _print_table(reports)
    bad = [
        run for run, report in reports.items() if report.failed or report.unexpected_skips(run[1])
    ]
    return 1 if bad else 0


@contextmanager
def _registry(directory: Path, processes: int) -> Iterator[str]:
    """Yield HOST:PORT of an empty registry; all its processes are gone afterwards."""
    with ExitStack() as stack:
        servers = []
        for number in range(processes):
            server = start_server(
                directory / str(number), "--workers", "1", storage=directory / "storage"
            )
            stack.callback(server.session.close)
            stack.callback(server.kill)
            servers.append(server)
        if processes == 1:
            yield servers[0].host
            return
        proxy = round_robin(directory / "haproxy", servers)
        stack.callback(proxy.stop)
        yield proxy.host


def _record(arrangement: str, version: str, report: Report) -> None:
    skips = len(report.unexpected_skips(version))
    record(
        "Conformance",
        f"OCI conformance suite, version {version}, {arrangement}",
        "0 failures; every skip has a known reason",
        f"{report.passed} passed, {len(report.failed)} failed, {len(report.skipped)} skipped"
        f" ({skips} without a known reason)",
    )


def _print_details(reports: dict[tuple[str, str], Report]) -> None:
    for (arrangement, version), report in reports.items():
        for name, words in report.failed.items():
            print(f"FAILED  {version}, {arrangement}: {name}\n{words}\n")
        for name, words in report.skipped.items():
            reason = KNOWN_SKIPS[version].get(name, f"UNKNOWN, the suite says: {words}")
            print(f"SKIPPED {version}, {arrangement}: {name}: {reason}")


def _print_table(reports: dict[tuple[str, str], Report]) -> None:
    print(f"\n{'version':8} {'arrangement':30} {'passed':>7} {'failed':>7} {'skipped':>8}")
    for (arrangement, version), report in reports.items():
        failed, skipped = len(report.failed), len(report.skipped)
        print(f"{version:8} {arrangement:30} {report.passed:>7} {failed:>7} {skipped:>8}")


if __name__ == "__main__":
    sys.exit(main())
