"""Drill F: every node a full copy, kept by Syncthing; the node that serves dies and comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.counts import count
from tests.drills.replicas import SYNC_SECONDS, Node, start_nodes, wait_until_equal
from tests.faults.images import (
    Image,
    assert_pulls,
    assert_status,
    digest_of,
    live,
    make_image,
    push,
)
from tests.figures import record
from tests.links.ours import table
from tests.live import Server, start_server, wait_for
from tests.protocol.arriving import pulled

SIZES = (1_000, 3_000_000, 20_000_000)
MOVES = count(8, 40)
"""How often the tag moves while others look."""
UPSTREAM = "up.site"


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Server]:
    """The world: it has one image, team/app:v1."""
    server = start_server(tmp_path / "upstream")
    push(live(server), "team/app", "v1", pulled_image())
    yield server
    server.kill()


@pytest.fixture
def nodes(tmp_path: Path, upstream: Server) -> Iterator[list[Node]]:
    """Three nodes before the upstream."""
    config = tmp_path / "config.toml"
    config.write_text(table(UPSTREAM, upstream.url))
    made = start_nodes(tmp_path, 3, config)
    yield made
    for node in made:
        node.die()


def test_any_node_serves_when_another_dies(nodes: list[Node], upstream: Server) -> None:
    one, two, three = nodes
    images = [make_image(f"move {n}", SIZES[n % len(SIZES)]) for n in range(MOVES)]
    with looking(two, images) as at_two, looking(three, images) as at_three:
        for image in images:
            push(live(one.server), "a/b", "latest", image)
            push(live(one.server), "a/b", f"v{images.index(image)}", image)
        assert_pulls(live(one.server), f"{UPSTREAM}/team/app", "v1", pulled_image())
        at = time.monotonic()
        wait_until_equal(*nodes)
        record(
            "F", f"{MOVES} images to two peers by Syncthing, after the last push", "", _since(at)
        )
        for node in (two, three):
            wait_for(lambda: _latest(node, images) == images[-1], SYNC_SECONDS, "last image")  # noqa: B023
    looks = at_two + at_three
    assert any(looks)
    upstream.kill()
    one.die()
    for node in (two, three):
        for number, image in enumerate(images):
            assert_pulls(live(node.server), "a/b", f"v{number}", image)
        assert_pulls(live(node.server), f"{UPSTREAM}/team/app", "v1", pulled_image())
    figure = f"{len(looks)} pulls while {MOVES} images arrived, each old or new, whole"
    record("F", "pulls from peers while files arrive; a node dies", "never a broken image", figure)


def test_a_node_that_rejoins_brings_nothing_back(nodes: list[Node]) -> None:
    """It died in the middle of a push, while another node deleted and pushed on."""
    one, two, three = nodes
    old, new, late = (make_image(name, 3_000_000) for name in ("old", "new", "late"))
    for tag in ("moved", "gone", "kept"):
        push(live(one.server), "a/b", tag, old)
    wait_until_equal(*nodes)
    push(live(one.server), "a/b", "late", late)
    one.die()
    assert_status(live(two.server)("DELETE", "/v2/a/b/manifests/gone"), 202)
    push(live(two.server), "a/b", "moved", new)
    push(live(three.server), "a/b", "kept", old)
    assert pulled(live(two.server), "a/b", "late", [late]) in (late, None)
    one.rejoin()
    wait_until_equal(*nodes)
    for node in nodes:
        call = live(node.server)
        assert_pulls(call, "a/b", "moved", new)
        assert_pulls(call, "a/b", "kept", old)
        assert_pulls(call, "a/b", "late", late)
        assert call("GET", "/v2/a/b/manifests/gone").status == 404
        tags = call("GET", "/v2/a/b/tags/list").body
        assert tags == b'{"name": "a/b", "tags": ["kept", "late", "moved"]}', tags
    assert not [path for node in nodes for path in node.storage.rglob("*.sync-conflict-*")]
    aim = "all nodes equal, nothing deleted comes back, no conflict"
    record("F", "a node dies in a push, others go on, it rejoins", aim, "so it was")


@pytest.mark.parametrize("damage", count(["other bytes"], ["shorter", "other bytes"]))
def test_a_copy_that_is_damaged_on_its_way_is_not_served(nodes: list[Node], damage: str) -> None:
    one, two, _ = nodes
    image = make_image("damaged", 3_000_000)
    push(live(one.server), "a/b", "v1", image)
    wait_until_equal(*nodes)
    path = next(two.storage.glob(f"blobs/sha256/*/{digest_of(image.layer)[7:]}"))
    wrong = image.layer[:-1] if damage == "shorter" else image.layer[:-1] + b"x"
    path.write_bytes(wrong)
    answer = live(two.server)("GET", f"/v2/a/b/blobs/{digest_of(image.layer)}")
    assert answer.status == 503 or not answer.whole


@contextmanager
def looking(node: Node, images: list[Image]) -> Iterator[list[Image | None]]:
    """Pull the moving tag again and again; each answer has to be one of the images, whole.

    Yields what was pulled so far. None = there was none yet.
    """
    stop, seen, failures = threading.Event(), list[Image | None](), list[AssertionError]()

    def look() -> None:
        while not stop.is_set():
            try:
                seen.append(_latest(node, images))
            except AssertionError as exc:
                failures.append(exc)
                return

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
    assert not failures


def pulled_image() -> Image:
    """What the upstream has."""
    return make_image("upstream", 3_000_000)


def _latest(node: Node, images: list[Image]) -> Image | None:
    return pulled(live(node.server), "a/b", "latest", images)


def _since(at: float) -> str:
    return f"{time.monotonic() - at:.1f} s"
