"""Every scenario over images that all peers hold, and their start-up."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench.cores import CLIENTS, SERVERS, pin
from tests.bench.peers import Peer, distribution, docker_registry, nginx, ours
from tests.bench.scenarios import Image, Sample, Sizes, fill, scenarios, seed

PEERS = {
    "distserver": ours,
    "nginx": nginx,
    "distribution v3": distribution,
    "docker-registry": docker_registry,
}
FILLED = ("distserver", "distribution v3", "docker-registry")
Samples = dict[str, dict[str, list[Sample]]]


def held(scratch: Path, sizes: Sizes) -> tuple[dict[str, str], Samples]:
    """Return the unit, and the samples by peer, of each scenario."""
    units, samples = _load(scratch, sizes)
    _start_up(scratch, sizes, units, samples)
    return units, samples


def _load(scratch: Path, sizes: Sizes) -> tuple[dict[str, str], Samples]:
    with ExitStack() as stack:
        pin(SERVERS)
        peers = [stack.enter_context(run(scratch / name)) for name, run in PEERS.items()]
        pin(CLIENTS)
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
    pin(SERVERS)
    for peer in FILLED:
        with PEERS[peer](scratch / peer) as running:
            fill(running, sizes.images)
    for _ in range(sizes.rounds):
        for peer, run in PEERS.items():
            begin = time.monotonic()
            with run(scratch / peer):
                samples[name][peer].append(Sample(1000 * (time.monotonic() - begin), 0))
