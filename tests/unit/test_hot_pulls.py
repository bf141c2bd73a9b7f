"""While the storage is away: pulls go on, nothing is denied, nothing deleted comes back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from backends import Memory
from backends.errors import Corrupt, Unavailable
from distserver.oci.digests import Digest
from distserver.oci.errors import BlobUnknown, ManifestBlobUnknown, ManifestUnknown
from distserver.oci.names import Tag
from distserver.registry import Registry, layout, local_registry
from distserver.registry.content import no_alarm
from distserver.registry.hot import Facts, HotContent, Recall, Tier, recalling
from tests.faults.images import TYPE, make_image

IMAGE = make_image("hot", 3_000_000)
LAYER = Digest.of(IMAGE.layer, "sha256")
CONFIG = Digest.of(IMAGE.config, "sha256")
MANIFEST = Digest.of(IMAGE.manifest, "sha256")
V1 = Tag("v1")


class Leaving(Memory):
    """A storage that can be away."""

    away = False

    def __getattribute__(self, name: str) -> Any:
        if name in ("stat", "open", "create", "link", "delete", "keys") and self.away:
            raise Unavailable("the storage is away")
        return super().__getattribute__(name)


@pytest.fixture
def storage() -> Leaving:
    return Leaving()


Node = Callable[..., Registry]


@pytest.fixture
def node(storage: Leaving, tmp_path: Path) -> Iterator[Node]:
    """A process of a node with a state directory of this name."""

    def make(state: str = "state", outage_seconds: float = 100) -> Registry:
        tier = Tier(tmp_path / state / "hot", 100_000_000, 0)
        content = HotContent(storage, no_alarm, tier)
        recall = Recall(content, Facts(tmp_path / state / "facts", outage_seconds))
        recall.begin()
        return recalling(local_registry(storage, 0, content=content), recall)

    yield make


@pytest.fixture
def pushed(node: Node) -> Registry:
    """A process that took a push, and has made no copies yet."""
    registry = node("elsewhere")
    push(registry)
    return registry


def push(registry: Registry) -> None:
    for blob in IMAGE.blobs:
        registry.blobs.put("a/b", Digest.of(blob, "sha256"), [blob])
    registry.manifests.put("a/b", None, [V1], IMAGE.manifest, TYPE)


def blob(registry: Registry, digest: Digest, start: int = 0, stop: int | None = None) -> bytes:
    """Ask as the API does: the size is told before the first byte is read."""
    found = registry.blobs.find("a/b", digest)
    with found.open(start, found.size if stop is None else stop) as reader:
        return reader.read()


def pull(registry: Registry) -> str:
    """Pull the image, right in every byte; return the warning."""
    tagged = registry.manifests.get("a/b", V1)
    assert (tagged.data, tagged.media_type) == (IMAGE.manifest, TYPE)
    assert registry.manifests.get("a/b", MANIFEST).data == IMAGE.manifest
    assert blob(registry, CONFIG) == IMAGE.config
    assert blob(registry, LAYER) == IMAGE.layer
    return tagged.warning


def test_a_pull_goes_on_without_the_storage_by_any_process_of_the_node(
    pushed: Registry, node: Node, storage: Leaving
) -> None:
    assert pull(node()) == ""
    storage.away = True
    assert "the storage is away" in pull(node())
    assert blob(node(), LAYER, 1_500_000, 1_500_010) == IMAGE.layer[1_500_000:1_500_010]
    assert node().blobs.size("a/b", LAYER) == len(IMAGE.layer)


def test_a_warm_blob_comes_from_a_file_while_the_storage_is_there(
    pushed: Registry, node: Node
) -> None:
    registry = node()
    pull(registry)
    pull(registry)
    with registry.blobs.find("a/b", LAYER).open(0, None) as reader:
        assert reader.fileno() >= 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "ask",
    [
        lambda r: r.manifests.get("a/b", Tag("v2")),
        lambda r: r.manifests.get("a/other", V1),
        lambda r: r.manifests.get("a/b", Digest.of(b"other", "sha256")),
        lambda r: r.blobs.find("a/other", LAYER),
        lambda r: r.blobs.find("a/b", Digest.of(b"other", "sha256")),
        lambda r: r.manifests.held("a/b", V1),
        lambda r: r.blobs.held_size("a/b", LAYER),
        lambda r: r.blobs.has("a/b", LAYER),
        lambda r: r.tags.names("a/b"),
        lambda r: r.tags.delete("a/b", V1),
        lambda r: r.manifests.delete("a/b", MANIFEST),
        lambda r: r.manifests.put("a/b", None, [V1], IMAGE.manifest, TYPE),
        lambda r: r.blobs.put("a/b", CONFIG, [IMAGE.config]),
    ],
)
def test_all_else_is_unavailable_and_never_denied(
    pushed: Registry, node: Node, storage: Leaving, ask: Callable[[Registry], object]
) -> None:
    registry = node()
    pull(registry)
    storage.away = True
    with pytest.raises(Unavailable):
        ask(registry)


def test_what_was_never_pulled_here_is_unavailable(
    pushed: Registry, node: Node, storage: Leaving
) -> None:
    node().manifests.get("a/b", V1)
    storage.away = True
    assert node().manifests.get("a/b", V1).data == IMAGE.manifest
    with pytest.raises(Unavailable):
        node().blobs.find("a/b", LAYER)


def test_facts_count_for_a_bounded_time(pushed: Registry, node: Node, storage: Leaving) -> None:
    pull(node())
    storage.away = True
    with pytest.raises(Unavailable):
        pull(node(outage_seconds=0))


DELETES: dict[str, Callable[[Registry], None]] = {
    "tag": lambda r: r.tags.delete("a/b", V1),
    "manifest": lambda r: r.manifests.delete("a/b", MANIFEST),
}


@pytest.mark.parametrize("kind", DELETES)
def test_a_deletion_that_this_node_acknowledged_holds_during_an_outage(
    pushed: Registry, node: Node, storage: Leaving, kind: str
) -> None:
    pull(node())
    DELETES[kind](node())
    with pytest.raises(ManifestUnknown):
        node().manifests.get("a/b", V1)
    storage.away = True
    with pytest.raises(Unavailable):
        node().manifests.get("a/b", V1)


def test_a_deleted_blob_is_not_served_during_an_outage(
    pushed: Registry, node: Node, storage: Leaving
) -> None:
    pull(node())
    node().blobs.delete("a/b", LAYER)
    storage.away = True
    with pytest.raises(Unavailable):
        blob(node(), LAYER)


def test_a_deletion_elsewhere_is_heard_as_soon_as_the_storage_can_be_asked(
    pushed: Registry, node: Node, storage: Leaving
) -> None:
    """During the outage it is not: that is the bound in the documentation."""
    pull(node())
    pushed.manifests.delete("a/b", MANIFEST)
    storage.away = True
    assert "away" in pull(node())
    storage.away = False
    with pytest.raises(ManifestUnknown):
        node().manifests.get("a/b", V1)


def test_a_tag_that_was_moved_here_does_not_name_the_old_image_during_an_outage(
    pushed: Registry, node: Node, storage: Leaving
) -> None:
    pull(node())
    other = json.dumps(json.loads(IMAGE.manifest) | {"annotations": {"n": "2"}}).encode()
    node().manifests.put("a/b", None, [V1], other, TYPE)
    storage.away = True
    with pytest.raises(Unavailable):
        node().manifests.get("a/b", V1)
    assert node().manifests.get("a/b", MANIFEST).data == IMAGE.manifest


def test_a_push_does_not_count_on_a_copy(pushed: Registry, node: Node, storage: Leaving) -> None:
    """What the storage lost has to be pushed again, although a copy could be pulled."""
    pull(node())
    storage.delete(layout.blob(LAYER))
    registry = node()
    assert not registry.blobs.has("a/b", LAYER)
    with pytest.raises(BlobUnknown):
        registry.blobs.held_size("a/b", LAYER)
    with pytest.raises(ManifestBlobUnknown):
        registry.manifests.put("a/b", None, [V1], IMAGE.manifest + b" ", TYPE)


@pytest.mark.parametrize("what", [LAYER, CONFIG, MANIFEST], ids=["layer", "config", "manifest"])
@pytest.mark.parametrize("damage", ["flip", "cut", "emptied"])
def test_a_damaged_copy_is_dropped_and_the_storage_serves(
    pushed: Registry, node: Node, tmp_path: Path, what: Digest, damage: str
) -> None:
    pull(node())
    path = tmp_path / "state" / "hot" / f"sha256-{what.hex}"
    data = path.read_bytes()
    path.write_bytes({"flip": b"\0" + data[1:], "cut": data[:-1], "emptied": b""}[damage])
    registry = node()
    with suppress(Corrupt, Unavailable):  # what a client takes for an end that came too early
        pull(registry)
    pull(registry)
    assert registry.blobs.size("a/b", LAYER) == len(IMAGE.layer)  # no mark on the storage's copy
    assert hashlib.sha256(path.read_bytes()).hexdigest() == what.hex


def test_a_blob_of_which_the_storage_s_copy_is_damaged_comes_from_its_copy(
    pushed: Registry, node: Node, storage: Leaving
) -> None:
    pull(node())
    node().content.corrupt(LAYER)
    assert blob(node(), LAYER) == IMAGE.layer


def test_a_client_that_leaves_leaves_no_copy(pushed: Registry, node: Node, tmp_path: Path) -> None:
    with node().blobs.find("a/b", LAYER).open(0, None) as reader:
        reader.read(100_000)
    assert not list((tmp_path / "state" / "hot").glob("sha256-*"))
    assert not list((tmp_path / "state" / "hot" / "filling").iterdir())


def test_what_is_written_whole_is_kept(node: Node, storage: Leaving, tmp_path: Path) -> None:
    registry = node()
    push(registry)
    assert {path.name for path in (tmp_path / "state" / "hot").glob("sha256-*")} == {
        f"sha256-{digest.hex}" for digest in (LAYER, CONFIG, MANIFEST)
    }
    file = tmp_path / "finished"
    file.write_bytes(b"fetched")
    registry.content.take(str(file), Digest.of(b"fetched", "sha256"), b"")
    assert (tmp_path / "state/hot" / f"sha256-{Digest.of(b'fetched', 'sha256').hex}").exists()
    with pytest.raises(Exception, match="digest"):
        registry.content.put(Digest.of(b"right", "sha256"), [b"wrong"])
    assert not (tmp_path / "state/hot" / f"sha256-{Digest.of(b'right', 'sha256').hex}").exists()


def test_a_copy_stands_in_for_bytes_that_the_storage_lost(
    pushed: Registry, node: Node, storage: Leaving
) -> None:
    """For pulls: the right to read them is there, and they prove right."""
    pull(node())
    storage.delete(layout.blob(LAYER))
    assert blob(node(), LAYER) == IMAGE.layer
    with pytest.raises(BlobUnknown):
        blob(node("without-copies"), LAYER)


def test_a_right_that_was_taken_away_is_gone_at_once(pushed: Registry, node: Node) -> None:
    pull(node())
    pushed.blobs.delete("a/b", LAYER)
    with pytest.raises(BlobUnknown):
        blob(node(), LAYER)


def test_a_copy_mends_what_rotted_in_the_storage(storage: Leaving, tmp_path: Path) -> None:
    content = HotContent(storage, no_alarm, Tier(tmp_path / "hot", 100_000_000, 0))
    content.put(LAYER, [IMAGE.layer])
    storage._entries.clear()
    assert content.restore(LAYER)
    assert content.verify(LAYER) == len(IMAGE.layer)
    (copy,) = (path for path in (tmp_path / "hot").iterdir() if path.is_file())
    copy.write_bytes(b"x" + IMAGE.layer[1:])
    storage._entries.clear()
    assert not content.restore(LAYER), "never a wrong byte instead"
    assert list(storage.keys("blobs/")) == []
    assert not content.restore(LAYER), "the wrong copy is gone"
