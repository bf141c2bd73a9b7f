"""A replica set of three kernel NFS servers, each a machine; our server on two other machines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest
import requests

from tests.counts import count
from tests.faults.images import (
    Answer,
    Call,
    Image,
    assert_pulls,
    live,
    make_image,
    push,
    push_blob,
)
from tests.faults.pushing import Acknowledged, pushing
from tests.faults.test_read_your_writes import PAIRS_A_TURN, pairs
from tests.figures import record
from tests.links.readers import percentile
from tests.live import Server, wait_for
from tests.nfs.machines import Machine
from tests.nfs.site import SET, Client, Site, a_site

pytestmark = pytest.mark.fault

PAIRS = count(60, 300)
AWAY = range(count(1, 3))
"""Which servers are away, one after the other."""
AWAY_SECONDS = count(20, 40)
SETTLE_SECONDS = 5.0
"""What the promise gives to the first moments of a failure."""
BACK_SECONDS = 600.0
CUTS = count(1, 4)
NAME = "set/image"


@dataclass
class Registry:
    """Our servers, each on a machine of its own, over the same three exports."""

    site: Site
    servers: list[Server]

    @property
    def calls(self) -> list[Call]:
        return [live(server) for server in self.servers]

    def is_whole(self) -> bool:
        """Whether all exports have the same entries, and no server misses one."""
        client = self.site.clients[0]
        return len({listing(client, export) for export in self.site.exports}) == 1


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with a_site(tmp_path_factory.mktemp("site"), exports=3, clients=2) as site:
        storages = [site.storages(client, SET) for client in site.clients]
        flags = " ".join(f"--storage {path}" for path in storages[0])
        site.clients[0].run(f"python3 -m distserver init {flags}")
        servers = [site.clients[n].serve(*storages[n]) for n in range(len(site.clients))]
        yield Registry(site, servers)
        assert not any("Traceback" in server.log for server in servers)


def listing(client: Client, export: Machine) -> str:
    """What an export has for good, as a client sees it."""
    skipped = " -o ".join(f"-name {name}" for name in ("_store", "tmp", "hints", "trash"))
    entries = rf"find . \( {skipped} \) -prune -o -type f -print"
    return client.run(f"(cd /mnt/{export.name} && {entries}) 2>&1 | sort")


def test_the_contract_holds(registry: Registry) -> None:
    where = f"/mnt/{registry.site.exports[0].name}"
    registry.site.clients[1].run(f"python3 -m distserver check-storage {where}")


def test_what_one_acknowledged_the_other_sees(registry: Registry) -> None:
    a, b = registry.calls
    turns = -(-PAIRS // (2 * PAIRS_A_TURN))
    with ThreadPoolExecutor(2) as pool:
        ways = [pool.submit(_turns, way, turns) for way in ((a, b), (b, a))]
        violations = [found for way in ways for found in way.result()]
    record(
        "NFS",
        f"read-your-writes, push and delete at one machine, pull at the other,"
        f" {2 * turns * PAIRS_A_TURN} pairs; kernel NFS, a set of 3",
        "0 violations",
        f"{len(violations)} violations",
    )
    assert violations == []


def _turns(way: tuple[Call, Call], turns: int) -> list[str]:
    """Write by the first server, read by the second; what was not seen is returned."""
    writing, reading = way
    name = f"rw/{id(way)}"

    def call(method: str, *arguments: object, **headers: str) -> Answer:
        ask = reading if method in ("GET", "HEAD") else writing

        def answered() -> Answer | None:
            answer = ask(method, *arguments, **headers)
            return None if answer.status == 503 else answer  # clients ask again

        return wait_for(answered, BACK_SECONDS, "answer")

    return [found for n in range(turns) for found in pairs(call, name, f"{name} {n}")]


@pytest.mark.parametrize("number", AWAY)
def test_one_is_away(registry: Registry, number: int) -> None:
    image = make_image("held", 3_000_000)
    push(registry.calls[0], NAME, "v1", image)
    export = registry.site.exports[number]
    export.unplug()
    begun, pulls, pushes = time.monotonic(), list[tuple[float, float]](), 0
    try:
        while time.monotonic() < begun + AWAY_SECONDS:
            call = registry.calls[pushes % 2]
            at = time.monotonic()
            assert_pulls(call, NAME, "v1", image)
            pulls.append((at - begun, time.monotonic() - at))
            push(call, NAME, f"away-{number}-{pushes}", make_image(f"{number} {pushes}", 200_000))
            pushes += 1
    finally:
        export.plug()
    back = time.monotonic()
    wait_for(registry.is_whole, BACK_SECONDS, "whole export")
    first = max(seconds for at, seconds in pulls if at < SETTLE_SECONDS)
    later = [seconds for at, seconds in pulls if at >= SETTLE_SECONDS]
    record(
        "NFS",
        f"one of three servers cut off the network (number {number + 1}) for {AWAY_SECONDS} s",
        "pulls 100 % ok, pushes ok at 2, whole again by itself",
        f"{len(pulls)} images pulled and {pushes} pushed, 0 failed; a pull took {first:.1f} s at"
        f" most at first, later {percentile(later, 0.5):.1f} s, at most {max(later):.1f} s;"
        f" whole {time.monotonic() - back:.0f} s after it was back",
    )


def test_two_are_away(registry: Registry) -> None:
    image = make_image("held by the third", 3_000_000)
    push(registry.calls[0], NAME, "kept", image)
    wait_for(registry.is_whole, BACK_SECONDS, "whole exports")
    away = registry.site.exports[:2]
    for export in away:
        export.unplug()
    try:
        for call in registry.calls:
            _pulls_by_digest_only(call, image)
    finally:
        for export in away:
            export.plug()
    back = time.monotonic()
    wait_for(lambda: all(map(_pushes, registry.calls)), BACK_SECONDS, "pushes")
    record(
        "NFS",
        "two of three servers cut off the network",
        "pulls of held digests ok, pushes and tags 503",
        f"so it was; pushes ok {time.monotonic() - back:.0f} s after they were back",
    )


def _pulls_by_digest_only(call: Call, image: Image) -> None:
    for _ in range(3):
        assert_pulls(call, NAME, image.digest, image)
        assert call("GET", f"/v2/{NAME}/manifests/kept").status == 503
        assert push_blob(call, NAME, b"two are away").status == 503


def _pushes(call: Call) -> bool:
    return push_blob(call, NAME, b"they are back").status == 201


def test_all_lose_power_during_pushes(registry: Registry) -> None:
    acknowledged, exports = Acknowledged(), registry.site.exports
    taken = list[float]()
    for cut in range(CUTS):
        with pushing(registry.servers[cut % 2], cut, acknowledged, threads=2) as more:
            wait_for(lambda more=more: len(more) > 8, 300, "pushes")  # type: ignore[misc]
            for export in exports:
                export.cut_power()
            registry.site.boot(*exports)
            back = time.monotonic()
            wait_for(lambda: all(map(_comes_back, registry.servers)), BACK_SECONDS, "pushes")
            taken.append(time.monotonic() - back)
        acknowledged.add(more)
    lost = [each for server in registry.servers for each in acknowledged.lost(server)]
    record(
        "NFS",
        f"all three servers lose power at once during pushes, {CUTS} times",
        "0 acknowledged lost",
        f"{len(lost)} of {len(acknowledged)} lost; pushes ok {max(taken):.0f} s at most after the"
        " servers were on again",
    )
    assert lost == []


def _comes_back(server: Server) -> bool:
    """Whether a server takes a push again."""
    try:
        return _pushes(live(replace(server, session=requests.Session())))
    except requests.RequestException:
        return False
