"""What goes, what stays, and what comes back."""

from __future__ import annotations

import pytest

from backends.errors import NotFound
from distserver.oci.errors import BlobUnknown, ManifestBlobUnknown, ManifestUnknown
from distserver.oci.names import Tag
from distserver.registry import Registry, layout
from distserver.registry.gc import Limits, collect, collector
from distserver.registry.gc.collector import survey
from tests.gc.pushed import (
    CONFIG,
    contents,
    digest,
    index,
    manifest,
    pulls,
    push,
    put,
    trashed,
)

AT_ONCE = Limits(grace_seconds=0, hold_seconds=0)
HELD = Limits(grace_seconds=0, hold_seconds=3600)


def test_what_nothing_names_goes_and_the_rest_stays(registry: Registry) -> None:
    push(registry, "a", "kept", b"shared", b"one")
    gone = push(registry, "a", "gone", b"shared", b"two")
    registry.manifests.delete("a", gone)
    report = collect(registry, AT_ONCE)
    assert set(report.purged) == set(report.condemned) == {gone, digest(b"two")}
    assert report.purged[digest(b"two")] == 3
    assert contents(registry) == {
        digest(part) for part in (CONFIG, b"shared", b"one", manifest(b"shared", b"one"))
    }
    assert trashed(registry) == []
    assert pulls(registry, "a", Tag("kept"))


def test_members_of_an_index_stay_be_they_manifests_or_blobs(registry: Registry) -> None:
    member = push(registry, "a", "", b"one")
    registry.blobs.put("a", digest(b"cache"), [b"cache"])
    body = index(manifest(b"one"), b"cache")
    put(registry, "a", "both", body)
    assert collect(registry, AT_ONCE).condemned == {}
    assert pulls(registry, "a", member)
    assert registry.blobs.has("a", digest(b"cache"))


def test_the_subject_is_not_kept_by_its_referrer(registry: Registry) -> None:
    subject = push(registry, "a", "", b"one")
    row = {"mediaType": "application/json", "digest": str(subject), "size": 1}
    push(registry, "a", "", b"signature", subject={**row, "size": len(manifest(b"one"))})
    registry.manifests.delete("a", subject)
    assert subject in collect(registry, AT_ONCE).condemned


def test_what_was_pushed_just_now_waits_for_its_manifest(registry: Registry) -> None:
    registry.blobs.put("a", digest(b"fresh"), [b"fresh"])
    report = collect(registry, Limits(grace_seconds=3600))
    assert (report.condemned, report.young) == ({}, 1)


def test_a_young_right_keeps_an_old_blob(registry: Registry) -> None:
    """A client that asks before a push renews the right, and skips the upload."""
    registry.content.put(digest(b"old"), [b"old"])
    only = frozenset({digest(b"old")})
    registry.blobs.record("a", digest(b"old"))
    report = collect(registry, Limits(grace_seconds=3600), only)
    assert (report.condemned, report.young) == ({}, 1)
    registry.blobs.delete("a", digest(b"old"))
    assert set(collect(registry, Limits(grace_seconds=3600), only).purged) == only


def test_the_trash_gives_back_what_somebody_asks_for(registry: Registry) -> None:
    body = b"x" * 2_000_000
    registry.blobs.put("a", digest(body), [body])
    assert set(collect(registry, HELD).condemned) == {digest(body)}
    assert contents(registry) == set()
    assert len(trashed(registry)) == 1
    with registry.blobs.open("a", digest(body), 10, 20) as reader:
        assert reader.read() == b"x" * 10
    assert contents(registry) == {digest(body)}


def test_a_push_rests_on_what_is_in_the_trash(registry: Registry) -> None:
    registry.blobs.put("a", digest(CONFIG), [CONFIG])
    registry.blobs.put("a", digest(b"one"), [b"one"])
    collect(registry, HELD)
    put(registry, "a", "v1", manifest(b"one"))
    assert pulls(registry, "a", Tag("v1"))
    collect(registry, AT_ONCE)
    assert pulls(registry, "a", Tag("v1"))


def test_a_push_is_refused_when_what_it_names_was_purged(registry: Registry) -> None:
    for part in (CONFIG, b"one"):
        registry.blobs.put("a", digest(part), [part])
    collect(registry, AT_ONCE)
    with pytest.raises(ManifestBlobUnknown):
        put(registry, "a", "v1", manifest(b"one"))
    with pytest.raises(BlobUnknown):
        registry.blobs.size("a", digest(b"one"))
    with pytest.raises(ManifestUnknown):
        registry.manifests.get("a", Tag("v1"))


def test_what_is_held_is_purged_by_a_later_run(registry: Registry) -> None:
    registry.content.put(digest(b"one"), [b"one"])
    assert collect(registry, HELD).held == 1
    assert collect(registry, HELD).purged == {}
    assert set(collect(registry, AT_ONCE).purged) == {digest(b"one")}
    assert list(registry.backend.keys(layout.GC)) == ["gc/census"]


def test_chunk_hashes_and_rights_go_with_the_bytes(registry: Registry) -> None:
    body = b"x" * 2_000_000
    registry.blobs.put("a", digest(body), [body])
    collect(registry, AT_ONCE)
    with pytest.raises(NotFound):
        registry.backend.stat(layout.chunks(digest(body)))


def test_a_survey_changes_nothing(registry: Registry) -> None:
    registry.content.put(digest(b"one"), [b"one"])
    before = list(registry.backend.keys(""))
    assert survey(registry, AT_ONCE).condemned == {digest(b"one"): 3}
    assert list(registry.backend.keys("")) == before


def test_only_what_was_named_goes(registry: Registry) -> None:
    for part in (b"one", b"two"):
        registry.content.put(digest(part), [part])
    push(registry, "a", "v1", b"three")
    named = frozenset(map(digest, (b"one", b"three", b"absent")))
    report = collect(registry, Limits(), named)
    assert set(report.purged) == {digest(b"one")}
    assert digest(b"two") in contents(registry)


def test_a_push_between_the_looks_brings_back(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The push looks before the run takes, and writes its manifest after."""
    for part in (CONFIG, b"one"):
        registry.blobs.put("a", digest(part), [part])
    monkeypatch.setattr(collector, "_wait", lambda _: put(registry, "a", "v1", manifest(b"one")))
    report = collect(registry, AT_ONCE)
    assert set(report.restored) == {digest(CONFIG), digest(b"one")}
    assert report.purged == {}
    assert pulls(registry, "a", Tag("v1"))
