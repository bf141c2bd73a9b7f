"""Warm pulls from hot copies, the storage being a mount (FUSE) or MinIO, beside a local disk's."""

from __future__ import annotations

import os
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
from tests.objects.servers import CREDENTIALS, minio

Samples = dict[str, dict[str, list[Sample]]]
LOCAL, HOT, PLAIN = "local disk", "mount, hot copies", "mount, no copies"
OBJECTS = "MinIO, hot copies"
PLACES = (LOCAL, HOT, OBJECTS, PLAIN)
_AIM = "warm pull >= 0.9 x local disk"
_HOT_BYTES = 64 << 30


@contextmanager
def _over(storage: Path | str, directory: Path, hot_bytes: int) -> Iterator[Peer]:
    env = {"DISTSERVER_HOT_BYTES": str(hot_bytes)}
    server = start_server(directory, "--workers", "1", storage=storage, env=env)
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
        os.environ.update(CREDENTIALS)
        pin(CLIENTS)  # an object store is another machine: it takes nothing of ours
        store = minio(scratch / "minio")
        stack.callback(store.kill)
        pin(SERVERS)
        peers = {
            LOCAL: stack.enter_context(ours(scratch / "local")),
            HOT: stack.enter_context(_over(mounts[0], scratch / "hot", _HOT_BYTES)),
            OBJECTS: stack.enter_context(_over(store.url(), scratch / "objects", _HOT_BYTES)),
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
    """One line a scenario: medians, and the ratios of hot copies to those of the local disk."""
    ratios = {HOT: "mount/local", OBJECTS: "MinIO/local"}
    table = Table([["warm", *PLACES, *ratios.values()]], [], [])
    for name, places in samples.items():
        rates = {
            place: statistics.median(sample.rate for sample in of) for place, of in places.items()
        }
        found = {ratios[place]: rates[place] / rates[LOCAL] for place in ratios}
        cells = {place: f"{rates[place]:,.2f} {units[name]}/s" for place in PLACES}
        shown = [f"{ratio:.2f}x" for ratio in found.values()]
        table.lines.append([name, *cells.values(), *shown])
        table.rows.append({"scenario": name, "unit": units[name], **found, **rates})
        for place, ratio in ratios.items():
            figure = f"{found[ratio]:.2f} x; {cells[place]}"
            table.figures.append((f"{name}, {place}", _AIM, figure))
    return table
