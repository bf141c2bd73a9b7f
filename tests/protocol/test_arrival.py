"""A storage whose files arrive in any order: each answer is the old image or the new one, whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from distserver.app import create_app, initialise_storage
from distserver.config import Config
from tests.faults.images import (
    TYPE,
    Call,
    Image,
    assert_pulls,
    assert_status,
    digest_of,
    in_process,
    make_image,
    push,
)
from tests.protocol.arriving import arrive, files_of, pulled

OLD, NEW = make_image("old"), make_image("new", 1_500_000)
IMAGES = [OLD, NEW]
SEEDS = range(8)
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


class Node:
    """A server in this process, over a storage of its own."""

    def __init__(self, directory: Path, initialised: bool = True) -> None:
        self.storage = directory / "storage"
        self.storage.mkdir(parents=True)
        config = Config(
            storage=(str(self.storage),), state=str(directory / "state"), reserve_bytes=0
        )
        if initialised:
            initialise_storage(config)
        self.call: Call = in_process(create_app(config).test_client())


Nodes = Callable[[], tuple[Node, Node]]


@pytest.fixture
def nodes(tmp_path: Path) -> Nodes:
    """Two nodes, the second of which has what the first had when it was made."""

    def make() -> tuple[Node, Node]:
        return Node(tmp_path / "one"), Node(tmp_path / "two", initialised=False)

    return make


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tag_is_old_until_all_of_the_new_is_here(nodes: Nodes, seed: int) -> None:
    one, two = nodes()
    push(one.call, "a/b", "v1", OLD)
    list(arrive(one.storage, two.storage, seed))
    assert_pulls(two.call, "a/b", "v1", OLD)
    push(one.call, "a/b", "v1", NEW)
    seen = [pulled(two.call, "a/b", "v1", IMAGES) for _ in arrive(one.storage, two.storage, seed)]
    assert set(seen[:-1]) <= {OLD, NEW}, "the old one stays until the new one is whole"
    assert seen == sorted(seen, key=IMAGES.index), "and it does not come back"
    assert seen[-1] == NEW


def test_the_old_image_says_that_a_newer_one_is_on_its_way(nodes: Nodes) -> None:
    one, two = nodes()
    push(one.call, "a/b", "v1", OLD)
    list(arrive(one.storage, two.storage, 0))
    assert "Warning" not in two.call("GET", "/v2/a/b/manifests/v1").headers
    push(one.call, "a/b", "v1", NEW)
    list(arrive(one.storage, two.storage, 0))
    _lose(two, NEW.layer)
    answer = two.call("GET", "/v2/a/b/manifests/v1")
    assert answer.body == OLD.manifest
    assert "has not arrived here yet" in answer.headers["Warning"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("reference", ["v1", NEW.digest])
def test_an_image_is_offered_when_it_is_whole(nodes: Nodes, seed: int, reference: str) -> None:
    one, two = nodes()
    push(one.call, "a/b", "v1", NEW)
    seen = [
        pulled(two.call, "a/b", reference, [NEW]) for _ in arrive(one.storage, two.storage, seed)
    ]
    assert seen[-1] == NEW


@pytest.mark.parametrize("seed", SEEDS)
def test_an_index_is_offered_with_one_of_its_members(nodes: Nodes, seed: int) -> None:
    one, two = nodes()
    for image in IMAGES:
        push(one.call, "a/b", image.digest, image)
    index = _index(*IMAGES)
    put = one.call("PUT", "/v2/a/b/manifests/multi", index, Content_Type=INDEX_TYPE)
    assert_status(put, 201)
    for _ in arrive(one.storage, two.storage, seed):
        if two.call("GET", "/v2/a/b/manifests/multi").status == 200:
            members = [pulled(two.call, "a/b", image.digest, [image]) for image in IMAGES]
            assert any(members)
    assert two.call("GET", "/v2/a/b/manifests/multi").body == index
    assert all(pulled(two.call, "a/b", image.digest, [image]) for image in IMAGES)


def test_what_waits_is_unavailable_and_can_be_pushed(nodes: Nodes) -> None:
    """By tag 503: it exists. By digest 404, the answer that lets clients push it here."""
    one, two = nodes()
    push(one.call, "a/b", "v1", OLD)
    list(arrive(one.storage, two.storage, 0))
    _lose(two, OLD.layer)
    assert two.call("GET", "/v2/a/b/manifests/v1").status == 503
    assert two.call("HEAD", f"/v2/a/b/manifests/{OLD.digest}").status == 404
    push(two.call, "a/b", "v1", OLD)
    assert_pulls(two.call, "a/b", "v1", OLD)


def test_what_was_deleted_is_not_on_its_way(nodes: Nodes) -> None:
    """A blob that somebody took from the repository hides no manifest, as before."""
    one, _ = nodes()
    push(one.call, "a/b", "v1", OLD)
    push(one.call, "a/b", "v1", NEW)
    assert_status(one.call("DELETE", f"/v2/a/b/blobs/{digest_of(NEW.layer)}"), 202)
    assert one.call("GET", "/v2/a/b/manifests/v1").body == NEW.manifest


@pytest.mark.parametrize("wrong", [OLD.layer[:-1], OLD.layer[:-1] + b"x", b""])
def test_damage_on_the_way_is_never_served(nodes: Nodes, wrong: bytes) -> None:
    one, two = nodes()
    push(one.call, "a/b", "v1", OLD)
    list(arrive(one.storage, two.storage, 0))
    next(two.storage.glob(f"blobs/sha256/*/{digest_of(OLD.layer)[7:]}")).write_bytes(wrong)
    assert two.call("GET", f"/v2/a/b/blobs/{digest_of(OLD.layer)}").status == 503


def test_syncthings_own_files_are_no_entries(nodes: Nodes) -> None:
    one, two = nodes()
    push(one.call, "a/b", "v1", OLD)
    list(arrive(one.storage, two.storage, 0))
    for path in files_of(two.storage):
        for name in (
            f".syncthing.{path.name}.tmp",
            f"~syncthing~{path.name}.tmp",
            f"{path.name}.sync-conflict-20261123-030204-4XOJSRQ",
        ):
            (two.storage / path.parent / name).write_bytes(b"wrong")
    for directory in (".stfolder", ".stversions"):
        (two.storage / directory).mkdir()
        (two.storage / directory / "x").write_bytes(b"wrong")
    assert_pulls(two.call, "a/b", "v1", OLD)
    assert json.loads(two.call("GET", "/v2/a/b/tags/list").body)["tags"] == ["v1"]
    assert json.loads(two.call("GET", "/v2/_catalog").body)["repositories"] == ["a/b"]
    assert_status(two.call("DELETE", "/v2/a/b/manifests/v1"), 202)
    assert two.call("GET", "/v2/a/b/manifests/v1").status == 404


@pytest.mark.parametrize("seed", SEEDS)
def test_a_peer_that_rejoins_revives_nothing(nodes: Nodes, seed: int) -> None:
    """Both nodes went on alone: what one deleted stays deleted, what one pushed is there."""
    one, two = nodes()
    push(one.call, "a/b", "gone", OLD)
    push(one.call, "a/b", "moved", OLD)
    list(arrive(one.storage, two.storage, seed))
    assert_status(one.call("DELETE", "/v2/a/b/manifests/gone"), 202)
    push(two.call, "a/b", "moved", NEW)
    for _ in arrive(one.storage, two.storage, seed):
        assert pulled(two.call, "a/b", "moved", IMAGES) == NEW
    for _ in arrive(two.storage, one.storage, seed):
        assert pulled(one.call, "a/b", "moved", IMAGES) in IMAGES
    for node in (one, two):
        assert node.call("GET", "/v2/a/b/manifests/gone").status == 404
        assert pulled(node.call, "a/b", "moved", IMAGES) == NEW
    assert files_of(one.storage) == files_of(two.storage)


def _lose(node: Node, blob: bytes) -> None:
    """Let it be as if the bytes of a blob had not come."""
    next(node.storage.glob(f"blobs/sha256/*/{digest_of(blob)[7:]}")).unlink()


def _index(*images: Image) -> bytes:
    members = [
        {"mediaType": TYPE, "digest": image.digest, "size": len(image.manifest)} for image in images
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": members}).encode()
