"""Tags: append-only versions, of which the newest with a live manifest is in force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import Backend, Memory
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestUnknown, NotArrived
from distserver.oci.names import Tag
from distserver.registry import layout
from distserver.registry.records import Records, RecordStore
from distserver.registry.tags import HISTORY, Tags, Version, choose

A, B = Digest.of(b"a"), Digest.of(b"b")
LATEST = Tag("latest")
R1, R2 = "1" * 16, "2" * 16


@given(st.integers(1, 2**64 - 1), st.integers(1, 2**64 - 1))
def test_a_newer_version_sorts_first(one: int, two: int) -> None:
    names = [str(Version(counter, "0" * 16, R1, A)) for counter in (one, two)]
    assert (names[0] < names[1]) == (one > two)


@pytest.mark.parametrize("version", [Version(7, R1, R2, A), Version(2**64 - 1, R1), Version(1, R2)])
def test_a_version_comes_back_from_its_name(version: Version) -> None:
    assert Version.parse(str(version)) == version


@pytest.mark.parametrize("text", ["", "x", "0" * 16, f"{'0' * 16}-{R1}-deletedx", "tmp.swp"])
def test_other_files_are_no_versions(text: str) -> None:
    assert Version.parse(text) is None


def _known(live: str = "", gone: str = "") -> Records:
    return Records(tuple(filter(None, [live])), frozenset(filter(None, [gone])))


def test_a_removed_record_makes_the_tag_absent() -> None:
    versions = [Version(2, R1, R1, A), Version(1, R1, R2, B)]
    assert choose(versions, lambda d: _known(gone=R1) if d == A else _known(live=R2)) is None


def test_a_record_that_has_not_arrived_leaves_the_version_before() -> None:
    versions = [Version(2, R1, R1, A), Version(1, R1, R2, B)]
    current = choose(versions, lambda d: _known(live=R2) if d == B else _known())
    assert current
    assert (current.digest, current.stale) == (B, True)


def test_a_deletion_wins_over_what_was_before() -> None:
    assert choose([Version(2, R1), Version(1, R1, R2, B)], lambda d: _known(live=R2)) is None


def test_content_that_has_not_arrived_leaves_the_version_before() -> None:
    versions = [Version(2, R1, R1, A), Version(1, R1, R2, B)]
    known = lambda d: _known(live=R1 if d == A else R2)  # noqa: E731
    current = choose(versions, known, lambda digest, record: digest == B)
    assert current
    assert (current.digest, current.stale) == (B, True)
    assert choose(versions, known, lambda digest, record: False) is None


@pytest.fixture
def store() -> tuple[Backend, RecordStore, Tags]:
    backend = Memory()
    records = RecordStore(backend)
    return backend, records, Tags(backend, records)


def _manifest(records: RecordStore, digest: Digest) -> str:
    return records.ensure(layout.manifest_records("a", digest))


def test_put_resolve_delete(store: tuple[Backend, RecordStore, Tags]) -> None:
    _, records, tags = store
    tags.put("a", LATEST, A, _manifest(records, A))
    tags.put("a", LATEST, B, _manifest(records, B))
    assert tags.resolve("a", LATEST).digest == B
    assert tags.all("a") == {LATEST: B}
    tags.delete("a", LATEST)
    with pytest.raises(ManifestUnknown):
        tags.resolve("a", LATEST)
    with pytest.raises(ManifestUnknown):
        tags.delete("a", LATEST)
    assert tags.all("a") == {}


def test_the_same_push_writes_nothing(store: tuple[Backend, RecordStore, Tags]) -> None:
    backend, records, tags = store
    record = _manifest(records, A)
    tags.put("a", LATEST, A, record)
    before = list(backend.keys(""))
    tags.put("a", LATEST, A, record)
    assert list(backend.keys("")) == before


def test_history_is_kept_and_bounded(store: tuple[Backend, RecordStore, Tags]) -> None:
    backend, records, tags = store
    for number in range(HISTORY + 10):
        digest = Digest.of(str(number).encode())
        tags.put("a", LATEST, digest, _manifest(records, digest))
    kept = list(backend.keys(layout.tag("a", LATEST)))
    assert HISTORY <= len(kept) <= HISTORY + 1
    assert tags.resolve("a", LATEST).digest == Digest.of(str(HISTORY + 9).encode())


def test_an_upstream_moves_no_tag_whose_push_has_not_arrived(
    store: tuple[Backend, RecordStore, Tags],
) -> None:
    backend, records, tags = store
    tags.put("a", LATEST, A, R1)
    before = list(backend.keys(layout.tags("a")))
    tags.follow("a", LATEST, B, _manifest(records, B), lambda current: True)
    assert list(backend.keys(layout.tags("a"))) == before
    with pytest.raises(NotArrived):
        tags.resolve("a", LATEST, lambda digest, record: True)
    with pytest.raises(ManifestUnknown):
        tags.resolve("a", LATEST)
