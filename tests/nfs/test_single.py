"""One kernel NFS mount is the only storage: what the guide says of a server that goes away."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.counts import count
from tests.faults.images import assert_pulls, live, push
from tests.faults.pushing import Acknowledged, pushing
from tests.faults.test_storage_hangs import (
    COLD,
    IMAGE,
    OTHER,
    down,
    paths,
    slowest,
    timed,
    wait_until_it_pulls,
)
from tests.figures import record
from tests.live import Server, wait_for
from tests.nfs.site import SINGLE, WORKERS, Site, a_site

pytestmark = pytest.mark.fault

CROWD = 12
HEALTH_SECONDS, REFUSED_SECONDS = 1.0, 15.0
DOWN_SECONDS, BACK_SECONDS = 60.0, 600.0
CUTS = count(1, 4)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with a_site(tmp_path_factory.mktemp("site"), exports=1, clients=1) as made:
        yield made


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[Server]:
    """A server over the mount that holds an image, and keeps no copies of it."""
    (client,) = site.clients
    (storage,) = site.storages(client, SINGLE)
    client.run(f"python3 -m distserver check-storage {storage}")
    client.run(f"python3 -m distserver init --storage {storage}")
    server = client.serve(storage, **COLD)
    push(live(server), "a/b", "v1", IMAGE)
    yield server
    assert "Traceback" not in server.log


def test_its_server_is_away(site: Site, server: Server) -> None:
    assert_pulls(live(server), "a/b", "v1", IMAGE)
    (export,) = site.exports
    export.unplug()
    with ThreadPoolExecutor(CROWD) as crowd:
        asked = [crowd.submit(timed, server, paths()[n % 3]) for n in range(CROWD)]
        health = max(slowest(server, path, 5) for path in ("/v2/", "/healthz", "/readyz"))
        answers = [future.result(60) for future in asked]
    wait_for(lambda: down(server), DOWN_SECONDS, "verdict")
    later = max(timed(server, path)[1] for path in paths())
    export.plug()
    back = wait_until_it_pulls(server, BACK_SECONDS)
    push(live(server), "a/b", "v2", OTHER)
    first = max(seconds for _, seconds in answers)
    record(
        "NFS",
        f"the server of the only mount (hard) cut off the network under {CROWD} pulls",
        "/v2/ and health < 1 s, the rest 503 in < 15 s, recovers without a restart",
        f"health {1000 * health:.0f} ms at most, first 503s after {first:.1f} s at most, later"
        f" ones {1000 * later:.0f} ms, pulls {back:.0f} s after it was back",
    )
    assert {answer.status for answer, _ in answers} == {503}
    assert health < HEALTH_SECONDS
    assert first < REFUSED_SECONDS
    assert server.log.count("Booting worker") == WORKERS


def test_its_server_loses_power_during_pushes(site: Site, server: Server) -> None:
    acknowledged, (export,) = Acknowledged(), site.exports
    taken = list[float]()
    for cut in range(CUTS):
        with pushing(server, cut, acknowledged, threads=2) as more:
            wait_for(lambda more=more: len(more) > 8, 300, "pushes")  # type: ignore[misc]
            export.cut_power()
            site.boot(export)
            taken.append(wait_until_it_pulls(server, BACK_SECONDS))
        acknowledged.add(more)
    lost = acknowledged.lost(server)
    record(
        "NFS",
        f"the server of the only mount loses power during pushes, {CUTS} times",
        "0 acknowledged lost",
        f"{len(lost)} of {len(acknowledged)} lost; pulls ok {max(taken):.0f} s at most after it was"
        " on again",
    )
    assert lost == []
