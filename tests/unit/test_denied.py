"""The deny list: what is known stays denied, and nothing of it is served, taken or kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from backends import Memory, put, read_all
from backends.errors import Incomplete, NotFound, Unavailable
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestUnknown, Purged
from distserver.oci.names import Tag
from distserver.oci.ranges import ByteRange
from distserver.registry import Registry, denied, layout, local_registry
from distserver.registry.content import no_alarm
from distserver.registry.denied import Denial, DenyList
from distserver.registry.hot import Facts, HotContent, Recall, Tier, recalling
from distserver.registry.needing import images_with
from tests.faults.images import TYPE, make_image
from tests.proxy.world import index

SPILLED, OTHER = make_image("spilled", 3_000_000), make_image("other")
LAYER, MANIFEST = Digest.of(SPILLED.layer), Digest.of(SPILLED.manifest)
V1 = Tag("v1")


class Moody(Memory):
    """A storage that can be away, or answer listings in part.

    listings  how often it was asked for the deny list
    """

    away = partial = False
    listings = 0

    def keys(self, prefix: str, after: str = "", settle: bool = False) -> Iterator[str]:
        self.listings += prefix == layout.DENY
        found = list(super().keys(prefix, after))
        if self.partial:
            found = found[:-1]
        yield from found
        if self.partial:
            raise Incomplete("too few replicas answered")

    def __getattribute__(self, name: str) -> Any:
        if name in ("stat", "open", "create", "link", "delete", "keys") and self.away:
            raise Unavailable("the storage is away")
        return super().__getattribute__(name)


@pytest.fixture
def storage() -> Moody:
    return Moody()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Time that passes when the test says so."""
    now = [1000.0]
    monkeypatch.setattr(denied, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def later(seconds: float) -> None:
        now[0] += seconds

    return later


Later = Callable[[float], None]


def deny(storage: Memory, *digests: Digest) -> None:
    """Deny, as another process does."""
    for digest in digests:
        DenyList(storage).add(Denial(digest, 1.0, "op@site", "a key in it"))


def pushed(registry: Registry, image: Any = SPILLED, tag: Tag = V1) -> Registry:
    for blob in image.blobs:
        registry.blobs.put("a/b", Digest.of(blob), [blob])
    registry.manifests.put("a/b", None, [tag], image.manifest, TYPE)
    return registry


def test_the_list_is_read_every_two_seconds_at_most(storage: Moody, clock: Later) -> None:
    seen = DenyList(storage)
    for _ in range(5):
        assert not seen.has(LAYER)
    deny(storage, LAYER)
    assert not seen.has(LAYER)
    assert storage.listings == 1
    clock(denied.FRESH_SECONDS)
    assert seen.has(LAYER)
    assert storage.listings == 2


@pytest.mark.parametrize("mood", ["away", "partial"])
def test_what_is_known_stays_denied_when_the_list_cannot_be_read(
    storage: Moody, clock: Later, mood: str
) -> None:
    deny(storage, LAYER, MANIFEST)
    seen = DenyList(storage)
    assert seen.all() == {LAYER, MANIFEST}
    setattr(storage, mood, True)
    clock(60)
    assert seen.all() == {LAYER, MANIFEST}
    setattr(storage, mood, False)
    DenyList(storage).remove(LAYER)
    clock(60)
    assert seen.all() == {MANIFEST}


def test_a_listing_in_part_denies_what_it_showed(storage: Moody, clock: Later) -> None:
    seen = DenyList(storage)
    assert not seen.all()
    deny(storage, LAYER, MANIFEST)
    storage.partial = True
    clock(60)
    assert len(seen.all()) == 1


def test_a_process_that_begins_in_an_outage_knows_what_its_node_knew(
    storage: Moody, tmp_path: Path, clock: Later
) -> None:
    memo = tmp_path / "denied"
    assert not DenyList(storage, memo).all()
    assert not memo.exists()
    deny(storage, LAYER)
    assert DenyList(storage, memo).has(LAYER)
    storage.away = True
    begun = DenyList(storage, memo)
    assert begun.has(LAYER)
    storage.away = False
    DenyList(storage).remove(LAYER)
    clock(60)
    assert not begun.has(LAYER)
    storage.away = True
    assert not DenyList(storage, memo).has(LAYER)


def test_entries_say_who_and_why_and_deny_even_when_damaged(storage: Moody) -> None:
    deny(storage, LAYER)
    put(storage, layout.denied(MANIFEST), b"{")
    put(storage, f"{layout.DENY}of-somebody-else", b"")
    known = {entry.digest: entry for entry in DenyList(storage).entries()}
    assert known.keys() == DenyList(storage).all() == {LAYER, MANIFEST}
    assert (known[LAYER].who, known[LAYER].reason) == ("op@site", "a key in it")
    assert "cannot be read" in known[MANIFEST].reason
    assert json.loads(read_all(storage, layout.denied(LAYER), 999))["time"] == 1.0


def test_nobody_can_allow_what_was_not_denied(storage: Moody) -> None:
    with pytest.raises(NotFound):
        DenyList(storage).remove(LAYER)


def test_a_push_that_began_before_does_not_end(storage: Moody, clock: Later) -> None:
    registry = local_registry(storage)

    def body() -> Iterator[bytes]:
        yield SPILLED.layer[:1000]
        deny(storage, LAYER)
        clock(60)
        yield SPILLED.layer[1000:]

    with pytest.raises(Purged):
        registry.blobs.put("a/b", LAYER, body())
    assert [key for key in storage.keys("") if not key.startswith(layout.DENY)] == []


def test_a_body_that_may_not_come_is_not_read(storage: Moody) -> None:
    deny(storage, LAYER)

    def body() -> Iterator[bytes]:
        raise AssertionError("it is read")
        yield b""

    with pytest.raises(Purged):
        local_registry(storage).blobs.put("a/b", LAYER, body())


def test_content_whose_digest_nobody_knew_is_not_kept(storage: Moody) -> None:
    deny(storage, LAYER)
    with pytest.raises(Purged):
        local_registry(storage).content.add([SPILLED.layer])
    assert [key for key in storage.keys("") if not key.startswith(layout.DENY)] == []


@pytest.mark.parametrize("at", [None, ByteRange(0, len(SPILLED.layer))], ids=["stream", "chunk"])
def test_a_session_does_not_keep_the_bytes_either(storage: Moody, at: ByteRange | None) -> None:
    deny(storage, LAYER)
    registry = local_registry(storage)
    session = registry.uploads.begin("a/b", "")
    with pytest.raises(Purged):
        registry.uploads.append("a/b", session, "", [SPILLED.layer], at)
    registry.uploads.append("a/b", session, "", [SPILLED.layer[:9]], None)
    with pytest.raises(Purged):
        registry.uploads.finish("a/b", session, "", LAYER, ([SPILLED.layer[9:]], None))
    assert [key for key in storage.keys("") if not key.startswith(layout.DENY)] == []


def test_a_manifest_leaves_the_memory_and_its_tag_says_why(storage: Moody, clock: Later) -> None:
    registry = pushed(local_registry(storage))
    assert registry.manifests.get("a/b", V1).digest == MANIFEST
    assert registry.manifests._memory._kept.currsize
    deny(storage, MANIFEST)
    clock(60)
    for reference in (V1, MANIFEST):
        with pytest.raises(Purged):
            registry.manifests.get("a/b", reference)
    assert not registry.manifests._memory._kept.currsize
    registry.records.remove(layout.manifest_records("a/b", MANIFEST))
    for reference in (V1, MANIFEST):
        with pytest.raises(Purged):
            registry.manifests.get("a/b", reference)
    with pytest.raises(ManifestUnknown):
        registry.manifests.get("a/b", Tag("never"))
    pushed(registry, OTHER)
    assert registry.manifests.get("a/b", V1).data == OTHER.manifest


def test_an_image_that_has_it_is_served_without_it(storage: Moody) -> None:
    """Its client is told by the layer what is the matter."""
    pushed(local_registry(storage))
    deny(storage, LAYER)
    registry = local_registry(storage)
    assert registry.manifests.get("a/b", V1).data == SPILLED.manifest
    with pytest.raises(Purged):
        registry.blobs.find("a/b", LAYER)


def test_an_index_is_served_for_its_other_members(storage: Moody, clock: Later) -> None:
    registry = pushed(pushed(local_registry(storage)), OTHER, Tag("other"))
    whole = index(amd64=SPILLED.manifest, arm64=OTHER.manifest)
    registry.manifests.put("a/b", None, [Tag("both")], whole, None)
    deny(storage, MANIFEST)
    fresh = local_registry(storage)
    assert fresh.manifests.get("a/b", Tag("both")).data == whole
    assert fresh.manifests.get("a/b", Digest.of(OTHER.manifest)).data == OTHER.manifest


def test_a_purged_referrer_is_not_listed(storage: Moody, clock: Later) -> None:
    registry = pushed(pushed(local_registry(storage)), OTHER, Tag("other"))
    subject = {"mediaType": TYPE, "digest": SPILLED.digest, "size": len(SPILLED.manifest)}
    signature = json.dumps({**json.loads(OTHER.manifest), "subject": subject}).encode()
    signed = registry.manifests.put("a/b", None, [], signature, None).digest
    assert [one["digest"] for one in registry.referrers.list("a/b", MANIFEST)] == [str(signed)]
    deny(storage, signed)
    clock(60)
    assert list(registry.referrers.list("a/b", MANIFEST)) == []


def test_copies_and_facts_of_a_node_go_and_serve_nothing_in_an_outage(
    storage: Moody, tmp_path: Path, clock: Later
) -> None:
    content = HotContent(storage, no_alarm, Tier(tmp_path / "hot", 100_000_000, 0))
    recall = Recall(content, Facts(tmp_path / "facts", 1000))
    recall.begin()
    registry = recalling(local_registry(storage, 0, content=content), recall)
    pushed(pushed(registry), OTHER, Tag("other"))
    for digest in (LAYER, Digest.of(OTHER.layer)):
        with registry.blobs.find("a/b", digest).open(0, None) as reader:
            reader.read()
    assert content.copy_size(LAYER)
    assert len(list((tmp_path / "facts").iterdir())) >= 2
    deny(storage, LAYER)
    clock(60)
    with pytest.raises(Purged):
        registry.blobs.find("a/b", LAYER)
    assert not (tmp_path / "hot" / f"sha256-{LAYER.hex}").exists()
    about = [json.loads(path.read_text()) for path in (tmp_path / "facts").iterdir()]
    assert str(LAYER) not in json.dumps(about)
    (tmp_path / "hot" / f"sha256-{LAYER.hex}").write_bytes(SPILLED.layer)  # a process that was late
    storage.away = True
    with pytest.raises(Purged):
        registry.blobs.find("a/b", LAYER)
    assert registry.blobs.find("a/b", Digest.of(OTHER.layer)).size == len(OTHER.layer)
    assert recall.sweep() == 1
    assert not (tmp_path / "hot" / f"sha256-{LAYER.hex}").exists()


def test_a_copy_on_its_way_is_not_kept(storage: Moody, tmp_path: Path, clock: Later) -> None:
    content = HotContent(storage, no_alarm, Tier(tmp_path / "hot", 100_000_000, 0))
    pushed(local_registry(storage))
    with content.open(LAYER) as reader:
        reader.read(1000)
        deny(storage, LAYER)
        clock(60)
        reader.read()
    assert [path for path in (tmp_path / "hot").rglob("*") if path.is_file()] == []


def test_which_images_have_it(storage: Moody) -> None:
    registry = pushed(pushed(local_registry(storage)), OTHER, Tag("other"))
    registry.manifests.put("a/b", None, [Tag("both")], index(amd64=SPILLED.manifest), None)
    registry.blobs.put("c", LAYER, [SPILLED.layer])
    assert list(images_with(registry, frozenset([LAYER]))) == ["a/b:both", "a/b:v1", "c"]
    assert list(images_with(registry, frozenset([Digest.of(b"none")]))) == []


class Hanging(Memory):
    """A storage whose listings answer when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = Event()
        self.answers.set()

    def keys(self, prefix: str, after: str = "", settle: bool = False) -> Iterator[str]:
        self.answers.wait(30)
        return super().keys(prefix, after, settle)


def test_a_storage_that_hangs_holds_up_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denied, "time", time)
    storage = Hanging()
    listed = DenyList(storage)
    listed.add(Denial(LAYER))
    assert listed.has(LAYER)
    storage.answers.clear()
    listed._next_look = 0.0
    begun = time.monotonic()
    assert listed.has(LAYER)
    first = time.monotonic() - begun
    assert all(listed.has(LAYER) for _ in range(100))
    storage.answers.set()
    assert first < 5 * denied.PATIENCE_SECONDS
    assert time.monotonic() - begun < first + denied.PATIENCE_SECONDS
