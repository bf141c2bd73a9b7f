"""The storage is unmounted under a running server: what the upstream has is still pulled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import disks
from tests.faults.images import assert_pulls, digest_of, live, push
from tests.faults.images import make_image as make_small_image
from tests.figures import record
from tests.links.images import Image, make_image
from tests.links.ours import Ours, ours, table
from tests.links.pulls import pull
from tests.links.readers import Reader
from tests.links.relay import Relay
from tests.links.upstream import Upstream

pytestmark = pytest.mark.fault

LOCAL = make_small_image("local")
PULLED, COLD = "/v2/docker.io/site/pulled", "/v2/docker.io/site/cold"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A mount point over the directory "real", as an operator's volume would be."""
    point = tmp_path / "volume"
    for path in (point, tmp_path / "real"):
        path.mkdir()
    disks.run("mount", "--bind", tmp_path / "real", point)
    yield point
    while disks.unmounted(point, "-l"):
        pass


@pytest.fixture
def server(tmp_path: Path, mounted: Path, link: Relay) -> Iterator[Ours]:
    with ours(tmp_path / "ours", table("docker.io", link.url), storage=mounted) as running:
        push(live(running.server), "site/local", "v1", LOCAL)
        yield running


def made(tmp_path: Path, upstream: Upstream, name: str) -> Image:
    image = make_image(tmp_path / "images", 2 << 20, name)
    upstream.push(image, f"site/{name}", "v1")
    return image


def test_unmounted_while_serving(
    tmp_path: Path, upstream: Upstream, server: Ours, mounted: Path
) -> None:
    pulled, cold = (made(tmp_path, upstream, name) for name in ("pulled", "cold"))
    client = Reader(server.host)
    pull(client, PULLED, pulled)
    disks.run("umount", "-l", mounted)
    for _ in range(3):  # by either worker
        pull(client, PULLED, pulled)
        pull(client, COLD, cold)
        assert_unavailable(client)
    assert list(mounted.iterdir()) == []
    disks.run("mount", "--bind", tmp_path / "real", mounted)
    assert_pulls(live(server.server), "site/local", "v1", LOCAL)
    pull(client, COLD, cold)
    record(
        "Storage away",
        "umount under a running server: pulls of an image pulled before, a cold one, a local one",
        "what the upstream has is served through, the rest is 503, all is well after the mount",
        "both upstream images whole and right by tag and digest, local ones 503, recovered",
    )


def assert_unavailable(client: Reader) -> None:
    """What only the storage had is 503, never 404."""
    layer = digest_of(LOCAL.layer)
    for path in ("manifests/v1", f"manifests/{LOCAL.digest}", f"blobs/{layer}", "tags/list"):
        assert client.get(f"/v2/site/local/{path}")[0] == 503, path
