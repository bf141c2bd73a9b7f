"""Speed against nginx and docker-registry in one run: a command. Judges nothing, fails on errors.

Each round does every scenario on every peer in turn; peers idle while another one works.
Servers are pinned to the first core, the clients to the last one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench.peers import Peer, docker_registry, nginx, ours
from tests.bench.scenarios import QUICK, Image, Sample, Sizes, fill, scenarios, seed
from tests.figures import record

RESULTS = Path(__file__).parent.parent.parent / "build" / "bench"
PROGRAMS = ("nginx", "docker-registry", "wrk")
PEERS = {"distserver": ours, "nginx": nginx, "docker-registry": docker_registry}
Samples = dict[str, dict[str, list[Sample]]]


def main() -> int:
    """Measure everything, write JSON and print the table; return the exit code."""
    arguments = _arguments()
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        print(f"not installed: {', '.join(missing)} (`make components` installs them)")
        return 1
    sizes = QUICK if arguments.quick else Sizes()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as scratch:
        units, samples = _load(Path(scratch), sizes)
        _start_up(Path(scratch), sizes, units, samples)
    rows = [_row(name, units[name], peers) for name, peers in samples.items()]
    _write(rows, arguments.directory, sizes)
    _print(rows)
    if not arguments.quick:
        _record(rows)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small round")
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else tempfile.gettempdir()
    parser.add_argument("--directory", default=memory, help=f"where stores lie ({memory})")
    return parser.parse_args()


def _load(scratch: Path, sizes: Sizes) -> tuple[dict[str, str], Samples]:
    """Return the unit and the samples by scenario."""
    with ExitStack() as stack:
        _pin(first=True)
        peers = [stack.enter_context(run(scratch / name)) for name, run in PEERS.items()]
        _pin(first=False)
        image: Image = seed(peers, sizes)
        units: dict[str, str] = {}
        samples: Samples = {}
        for number in range(sizes.rounds):
            print(f"round {number + 1} of {sizes.rounds}", flush=True)
            for scenario in scenarios(image, sizes):
                units[scenario.name] = scenario.unit
                for peer in peers:
                    if scenario.pushes and peer.root is not None:
                        continue
                    found = samples.setdefault(scenario.name, {})
                    found.setdefault(peer.name, []).append(scenario.sample(peer))
        _memory(peers, units, samples)
    return units, samples


def _memory(peers: list[Peer], units: dict[str, str], samples: Samples) -> None:
    units["memory after all this (PSS)"] = "MB"
    samples["memory after all this (PSS)"] = {
        peer.name: [Sample(peer.pss_bytes() / 1e6, 0)] for peer in peers
    }


def _start_up(scratch: Path, sizes: Sizes, units: dict[str, str], samples: Samples) -> None:
    """Time from the command to the first answer, over a store of many images."""
    name = f"start with {sizes.images} images"
    units[name], samples[name] = "ms", {peer: [] for peer in PEERS}
    _pin(first=True)
    for peer in ("distserver", "docker-registry"):
        with PEERS[peer](scratch / peer) as running:
            fill(running, sizes.images)
    for _ in range(sizes.rounds):
        for peer, run in PEERS.items():
            begin = time.monotonic()
            with run(scratch / peer):
                samples[name][peer].append(Sample(1000 * (time.monotonic() - begin), 0))


def _pin(first: bool) -> None:
    """Keep this process, and the children it starts from now on, on one core."""
    cores = sorted(os.sched_getaffinity(0) | set(range(os.cpu_count() or 1)))
    os.sched_setaffinity(0, {cores[0] if first else cores[-1]})


def _row(name: str, unit: str, peers: dict[str, list[Sample]]) -> dict[str, object]:
    """Medians and spread of one scenario; a ratio above 1 means that ours is better."""
    found: dict[str, dict[str, float]] = {}
    for peer, samples in peers.items():
        rates = [sample.rate for sample in samples]
        middle = statistics.median(rates)
        found[peer] = {"median": middle, "spread": (max(rates) - min(rates)) / middle}
        found[peer]["cpu_seconds"] = statistics.median(sample.cpu for sample in samples)
        if slow := [sample.p99 for sample in samples if sample.p99 is not None]:
            found[peer]["p99_ms"] = statistics.median(slow)
    mine = found["distserver"]["median"]
    ratios = {peer: mine / of["median"] for peer, of in found.items() if peer != "distserver"}
    if unit in ("ms", "MB"):
        ratios = {peer: 1 / ratio for peer, ratio in ratios.items()}
    return {"scenario": name, "unit": unit, "peers": found, "ratios": ratios}


def _write(rows: list[dict[str, object]], directory: str, sizes: Sizes) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / time.strftime("%Y%m%d-%H%M%S.json")
    about = {"sizes": vars(sizes), "directory": directory, "cores": os.cpu_count()}
    path.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
    print(f"written: {path.relative_to(RESULTS.parent.parent)}\n")


def _record(rows: list[dict[str, Any]]) -> None:
    """Keep each scenario's figure with its ratios to the peers of the same run."""
    for row in rows:
        ratios = ", ".join(f"{ratio:.2f} x {peer}" for peer, ratio in row["ratios"].items())
        mine = _cell(row["unit"], row["peers"]["distserver"])
        record("Speed", row["scenario"], "reported; more than 1 x is better", f"{mine}; {ratios}")


def _print(rows: list[dict[str, object]]) -> None:
    """One line a scenario: median +- spread (CPU us a request, CPU s a GB; p99), ratios."""
    print("".join(f"{title:>36}" for title in ("scenario", *PEERS)) + "   ours/nginx  ours/docker")
    for row in rows:
        cells = [_cell(str(row["unit"]), row["peers"].get(peer)) for peer in PEERS]  # type: ignore[attr-defined]
        ratios = [row["ratios"].get(peer) for peer in ("nginx", "docker-registry")]  # type: ignore[attr-defined]
        text = "".join(f"{cell:>36}" for cell in (row["scenario"], *cells))
        print(text + "".join(f"{ratio:>12.2f}x" if ratio else f"{'-':>13}" for ratio in ratios))


def _cell(unit: str, found: dict[str, float] | None) -> str:
    if found is None:
        return "-"
    spread = f"±{100 * found['spread']:.0f}%"
    match unit:
        case "req":
            tail = f", p99 {found['p99_ms']:.1f} ms" if "p99_ms" in found else ""
            return f"{found['median']:,.0f}/s {spread} ({1e6 * found['cpu_seconds']:.0f} us{tail})"
        case "GB":
            return f"{found['median']:.2f} GB/s {spread} ({found['cpu_seconds']:.2f} s/GB)"
        case _:
            return f"{found['median']:.0f} {unit} {spread}"


if __name__ == "__main__":
    sys.exit(main())
