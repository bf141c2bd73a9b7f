"""Cold fan-out: many clients ask a proxy at once for a blob that it has never seen."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.cores import ALL, CLIENTS, SERVERS, pin
from tests.bench.load import digest_of, first_byte, fresh_body, get, parallel
from tests.bench.peers import Peer
from tests.bench.proxies import PROXIES, Image, Upstream, upstream
from tests.bench.scenarios import Sizes

CLIENT_COUNT = 32
DIRECT = "no proxy"
PLACES = {"server on one core": SERVERS, "server on all cores": ALL}


@dataclass(frozen=True)
class FanOut:
    """One cold fan-out.

    seconds     from the request for the manifest to the last byte of the last client
    failed      clients that were refused, or whose answer was cut short
    gets        of the blob that reached the upstream
    fetched     bytes of blobs that left the upstream
    first_byte  99th percentile of the clients' waits for the first byte of the blob, seconds
    cpu         CPU seconds of the server's processes
    """

    seconds: float
    failed: int
    gets: int
    fetched: int
    first_byte: float
    cpu: float


Found = dict[str, dict[str, list[FanOut]]]


def fan_out(scratch: Path, sizes: Sizes) -> Found:
    """Return the samples by where the servers ran, then by server; DIRECT is the upstream's own."""
    found: Found = {}
    for place, cores in PLACES.items():
        with ExitStack() as stack:
            # as a remote upstream would, it takes nothing from the server where there is a choice
            pin(ALL if cores == ALL else CLIENTS)
            source = stack.enter_context(upstream(scratch / place / "upstream"))
            pin(cores)
            peers = {DIRECT: source.peer} | {
                name: stack.enter_context(run(scratch / place / name, source.peer.url, 30))
                for name, run in PROXIES.items()
            }
            pin(ALL if cores == ALL else CLIENTS)
            found[place] = _rounds(source, peers, sizes)
    return found


def _rounds(source: Upstream, peers: dict[str, Peer], sizes: Sizes) -> dict[str, list[FanOut]]:
    warm = source.publish([fresh_body(1 << 20)[0]])
    for peer in peers.values():
        for path in (warm.path, *warm.blob_paths):
            get(peer.port, path)
    samples: dict[str, list[FanOut]] = {name: [] for name in peers}
    for _ in range(sizes.rounds):
        image = source.publish([fresh_body(sizes.fanned)[0]])
        for name, peer in peers.items():
            samples[name].append(_sample(source, peer, image))
    return samples


def _sample(source: Upstream, peer: Peer, image: Image) -> FanOut:
    """Pull the manifest, as a node does first, then the blob by all clients at once."""
    source.fetched()
    (digest, size), path = image.blobs[0], image.blob_paths[0]
    cpu, begin = peer.cpu_seconds(), time.monotonic()
    get(peer.port, image.path)
    waits = parallel(CLIENT_COUNT, lambda: _wait(peer.port, path, size))
    seconds = time.monotonic() - begin
    gets, fetched = source.fetched()
    good = sorted(wait for wait in waits if wait is not None) or [seconds]
    p99, used = good[int(0.99 * len(good))], peer.cpu_seconds() - cpu
    if digest_of(get(peer.port, path)) != digest:
        raise RuntimeError(f"{peer.name} serves other bytes than {digest}")
    return FanOut(seconds, waits.count(None), gets, fetched, p99, used)


def _wait(port: int, path: str, size: int) -> float | None:
    try:
        return first_byte(port, path, size)
    except (RuntimeError, OSError):
        return None
