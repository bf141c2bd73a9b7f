"""Warm pulls from hot copies, the storage being a mount (FUSE), beside those from a local disk."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.cores import CLIENTS, SERVERS, pin
from tests.bench.peers import Peer, ours
from tests.bench.report import Table
from tests.bench.scenarios import Sample, Sizes, scenarios, seed
from tests.faults.faultfs import mounted
from tests.live import start_server

Samples = dict[str, dict[str, list[Sample]]]
LOCAL, HOT, PLAIN = "local disk", "mount, hot copies", "mount, no copies"
_AIM = "warm pull of large blobs >= 0.9 x local disk"


@contextmanager
def _over(mount: Path, directory: Path, hot_bytes: int) -> Iterator[Peer]:
    env = {"DISTSERVER_HOT_BYTES": str(hot_bytes)}
    server = start_server(directory, "--workers", "1", storage=mount, env=env)
    try:
        yield Peer("distserver", server.port, server.pid)
    finally:
        server.kill()


def hot(scratch: Path, sizes: Sizes) -> tuple[dict[str, str], Samples]:
    """Return the unit, and the samples by place of the storage, of each scenario without pushes."""
    units: dict[str, str] = {}
    samples: Samples = {}
    with ExitStack() as stack:
        mounts = [stack.enter_context(mounted(scratch / f"disk{n}")).path for n in range(2)]
        pin(SERVERS)
        peers = {
            LOCAL: stack.enter_context(ours(scratch / "local")),
            HOT: stack.enter_context(_over(mounts[0], scratch / "hot", 64 << 30)),
            PLAIN: stack.enter_context(_over(mounts[1], scratch / "plain", 0)),
        }
        pin(CLIENTS)
        image = seed(list(peers.values()), sizes)
        chosen = [one for one in scenarios(image, sizes) if "blob" in one.name]
        for _ in range(sizes.rounds):
            for scenario in chosen:
                units[scenario.name] = scenario.unit
                found = samples.setdefault(scenario.name, {})
                for place, peer in peers.items():
                    found.setdefault(place, []).append(scenario.sample(peer))
    return units, samples


def hot_table(units: dict[str, str], samples: Samples) -> Table:
    """One line a scenario: medians, and their ratio to those of the local disk."""
    table = Table([["warm", LOCAL, HOT, PLAIN, "hot/local"]], [], [])
    for name, places in samples.items():
        rates = {
            place: statistics.median(sample.rate for sample in of) for place, of in places.items()
        }
        ratio = rates[HOT] / rates[LOCAL]
        cells = [f"{rates[place]:,.2f} {units[name]}/s" for place in (LOCAL, HOT, PLAIN)]
        table.lines.append([name, *cells, f"{ratio:.2f}x"])
        table.rows.append({"scenario": name, "unit": units[name], "ratio": ratio, **rates})
        table.figures.append((f"{name}, hot copies", _AIM, f"{ratio:.2f} x; {cells[1]}"))
    return table
