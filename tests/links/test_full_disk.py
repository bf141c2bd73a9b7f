"""A storage without room for what is pulled: the client is served all the same, whole and right."""

from __future__ import annotations

import time
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
KEPT_SECONDS = 60.0
"""What could not be kept is tried again now and then."""
LEFT = {"some room": 8 * MIB, "no room": 0}
"""Free bytes, less than the image has."""
STATE_ELSEWHERE, STATE_THERE = "state elsewhere", "state on it too"
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


@pytest.fixture(params=[STATE_ELSEWHERE, STATE_THERE])
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
    disks.fill_bytes(disk, LEFT[left])
    with crowd(CLIENTS, lambda _: pull(client, NAME, large)):
        pass
    asked = len(link.gets(large.layer))
    pull(client, HELD, small)
    assert_pulls(live(running.server), "site/local", "v1", LOCAL)
    answer = push_blob(live(running.server), "site/local", bytes(LEFT[left] + MIB))
    assert (answer.status, answer.error) == (507, "DENIED")
    record(
        "Full disk",
        f"{CLIENTS} cold pulls of 24 MiB, {left} in a storage of 64 MiB, {where(running)}",
        "served whole and right, held images pull, a push gets 507",
        f"every digest right, {asked} upstream GETs of the layer, held ones pull, 507",
    )


def test_kept_when_there_is_room_again(
    server: tuple[Ours, Path], link: Relay, large: Image
) -> None:
    """Without a restart, and without another byte from upstream once it is."""
    running, disk = server
    client = Reader(running.host)
    filler = disks.fill_bytes(disk)
    pull(client, NAME, large)
    disks.empty(filler)
    begin = time.monotonic()
    wait_for(lambda: kept(running, client, large), KEPT_SECONDS, "blob in the storage")
    seconds = time.monotonic() - begin
    before = len(link.gets(large.layer))
    pull(client, NAME, large)
    assert len(link.gets(large.layer)) == before
    record(
        "Full disk",
        f"a pull of 24 MiB without room for it, then room, then pulls, {where(running)}",
        "kept again without a restart",
        f"kept {seconds:.0f} s after there was room; the next pull asks for no byte",
    )


def where(server: Ours) -> str:
    return STATE_THERE if server.state.is_symlink() else STATE_ELSEWHERE


def kept(server: Ours, client: Reader, image: Image) -> bool:
    """Whether the layer is in the storage: pull the image once more, and look."""
    pull(client, NAME, image)
    held = server.server.request("HEAD", f"{NAME}/blobs/{image.layer}").status_code == 200
    return held and server.partial(image.layer) is None
