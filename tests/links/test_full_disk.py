"""A storage without room for what is pulled: the client is served all the same, whole and right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import disks
from tests.faults.images import assert_pulls, live, push, push_blob
from tests.faults.images import make_image as make_small_image
from tests.figures import record
from tests.links.images import Image, make_image
from tests.links.ours import Ours, ours, table
from tests.links.pulls import pull
from tests.links.readers import Reader, crowd
from tests.links.relay import Relay
from tests.links.upstream import Upstream
from tests.live import wait_for

pytestmark = pytest.mark.fault

MIB = 1 << 20
DISK, INODES = 64 * MIB, 4000
SIZE = 24 * MIB
CLIENTS = 3
LEFT = {"some room": 8 * MIB, "no room": 0}
"""Free bytes, less than the image has."""
STATE_THERE = "state on it too"
LOCAL = make_small_image("local", 200_000)
NAME, HELD = "/v2/docker.io/site/large-one", "/v2/docker.io/site/small-one"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Image:
    made = make_image(tmp_path_factory.mktemp("image"), SIZE, "large one")
    upstream.push(made, "site/large-one", "v1")
    return made


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Image:
    made = make_image(tmp_path_factory.mktemp("image"), 200_000, "small one")
    upstream.push(made, "site/small-one", "v1")
    return made


@pytest.fixture(params=["state elsewhere", STATE_THERE])
def server(
    request: pytest.FixtureRequest, tmp_path: Path, link: Relay, small: Image
) -> Iterator[tuple[Ours, Path]]:
    """A server over a small disk that holds a local image and a pulled one; and the disk."""
    with disks.small_disk("ext4", tmp_path, DISK, INODES) as disk:
        directory = tmp_path / "ours"
        directory.mkdir()
        if request.param == STATE_THERE:
            (disk / "state").mkdir()
            (directory / "state").symlink_to(disk / "state")
        with ours(directory, table("docker.io", link.url), storage=disk / "storage") as running:
            push(live(running.server), "site/local", "v1", LOCAL)
            pull(Reader(running.host), HELD, small)
            wait_for(lambda: not list(running.state.glob("partial/*/*")), 10, "completion")
            yield running, disk


@pytest.mark.parametrize("left", LEFT)
def test_does_not_fit(
    server: tuple[Ours, Path], link: Relay, large: Image, small: Image, left: str
) -> None:
    running, disk = server
    client = Reader(running.host)
    filler = disks.fill_bytes(disk, LEFT[left])
    with crowd(CLIENTS, lambda _: pull(client, NAME, large)):
        pass
    asked = len(link.gets(large.layer))
    pull(client, HELD, small)
    assert_pulls(live(running.server), "site/local", "v1", LOCAL)
    answer = push_blob(live(running.server), "site/local", bytes(LEFT[left] + MIB))
    assert (answer.status, answer.error) == (507, "DENIED")
    disks.empty(filler)
    kept_again(running, link, large)
    where = STATE_THERE if running.state.is_symlink() else "state elsewhere"
    record(
        "Full disk",
        f"{CLIENTS} cold pulls of 24 MiB, {left} in a storage of 64 MiB, {where}",
        "served whole and right, held images pull, a push gets 507, kept again when there is room",
        f"every digest right, {asked} upstream GETs of the layer, 507, kept",
    )


def kept_again(server: Ours, link: Relay, image: Image) -> None:
    """With room again a pull is kept, without a restart: the next one costs nothing."""
    client = Reader(server.host)
    pull(client, NAME, image)
    wait_for(lambda: server.partial(image.layer) is None, 10, "publication")
    before = len(link.gets(image.layer))
    pull(client, NAME, image)
    assert len(link.gets(image.layer)) == before
