"""Modes that an operator changes at run time by `distserver mode`, and what each of them asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.figures import record
from tests.links.images import Image, make_image
from tests.links.ours import Ours, ours, table
from tests.links.pulls import pull
from tests.links.readers import Reader
from tests.links.relay import Relay
from tests.links.upstream import Upstream
from tests.live import wait_for

pytestmark = pytest.mark.fault

HELD, COLD = "/v2/docker.io/site/mode-held", "/v2/docker.io/site/mode-cold"
SWITCH_SECONDS = 3.0
"""Asserted with slack; the promise is that the file is read again within a second."""


def mode(server: Ours, name: str) -> None:
    command = [sys.executable, "-m", "distserver", "mode", name, "--state", str(server.state)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def images(tmp_path: Path, upstream: Upstream) -> dict[str, Image]:
    found = {}
    for name in (HELD, COLD):
        repository = name.removeprefix("/v2/docker.io/")
        found[name] = make_image(tmp_path / "images", 300_000, repository)
        upstream.push(found[name], repository, "v1")
    return found


def test_there_and_back(tmp_path: Path, link: Relay, images: dict[str, Image]) -> None:
    """Every tag is asked for again online, none is in prefer-cache; offline a miss is absent."""
    env = {"DISTSERVER_TAG_TTL_SECONDS": "0"}
    with ours(tmp_path / "ours", table("docker.io", link.url), env=env) as server:
        client = Reader(server.host)
        pull(client, HELD, images[HELD])
        assert asks(client, link, images)
        mode(server, "prefer-cache")
        wait_for(lambda: not asks(client, link, images), SWITCH_SECONDS, "prefer-cache")
        assert client.get(f"{COLD}/manifests/v2")[0] == 404  # a miss: the upstream said so
        mode(server, "offline")
        wait_for(lambda: missing(client, link), SWITCH_SECONDS, "offline")
        assert client.get(f"{COLD}/manifests/v1")[0] == 404
        pull(client, HELD, images[HELD])
        mode(server, "online")
        wait_for(lambda: client.get(f"{COLD}/manifests/v1")[0] == 200, SWITCH_SECONDS, "online")
        pull(client, COLD, images[COLD])
        mode(server, "offline")
        server.stop_and_start()
        assert missing(client, link)  # what the operator said outlives a restart
    record(
        "Modes",
        "distserver mode: prefer-cache, offline, online, offline, restart; 2 workers",
        "each in force within a second in all workers, also after a restart",
        f"each in force within {SWITCH_SECONDS:.0f} s",
    )


def asks(client: Reader, link: Relay, images: dict[str, Image]) -> bool:
    """Whether a held tag leads to a question upstream, by any worker."""
    before = len(link.asked)
    for _ in range(8):
        assert client.get(f"{HELD}/manifests/v1") == (200, images[HELD].manifest)
    return len(link.asked) > before


def missing(client: Reader, link: Relay) -> bool:
    """Whether a miss is answered 404 without a question upstream, by all workers."""
    before = len(link.asked)
    answers = {client.get(f"{COLD}/manifests/other-{n}")[0] for n in range(8)}
    return answers == {404} and len(link.asked) == before
