"""Whatever does not fit together stops a run before anything is purged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends import Filesystem, Memory, initialise, put
from backends.base import Reader
from backends.errors import StorageError, Unavailable
from distserver.registry import Registry, layout, local_registry
from distserver.registry.gc import Limits, collect, collector
from distserver.registry.gc.census import Census
from distserver.registry.gc.mark import Doubtful
from tests.figures import record
from tests.gc.pushed import digest, push

AT_ONCE = Limits(grace_seconds=0, hold_seconds=0)


class Lying(Memory):
    """A storage that leaves out of listings, or fails, what a test says."""

    hidden: Callable[[str], bool] = staticmethod(lambda _: False)
    broken: Callable[[str], bool] = staticmethod(lambda _: False)

    def keys(self, prefix: str, after: str = "", settle: bool = False) -> Iterator[str]:
        for key in super().keys(prefix, after, settle):
            if self.broken(key) and "/_manifests/" in key:
                raise Unavailable(f"{key}: EIO")
            if not self.hidden(key):
                yield key

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        if self.broken(key):
            raise Unavailable(f"{key}: EIO")
        return super().open(key, start, stop)


@pytest.fixture
def storage() -> Lying:
    return Lying()


@pytest.fixture
def registry(storage: Lying) -> Registry:
    """100 images, each with a layer of its own, and a run that saw them all."""
    registry = local_registry(storage)
    for number in range(100):
        push(registry, f"a/{number % 7}", f"v{number}", b"layer %d" % number)
    collect(registry, AT_ONCE)
    registry.content.put(digest(b"garbage"), [b"garbage"])
    return registry


STOPPED: list[str] = []
"""The tests whose runs stopped before anything was purged."""


@pytest.fixture(scope="module", autouse=True)
def recorded() -> Iterator[None]:
    yield
    record(
        "doubt",
        "runs without margins over a storage that leaves out 1 %, 2 %, half or all of its records,"
        f" fails with EIO, has a damaged or lost manifest, or is exchanged: {len(STOPPED)} cases",
        "aborts each time, 0 deletes",
        f"{len(STOPPED)} stopped, 0 contents purged",
    )


def stops(registry: Registry, *errors: type[StorageError]) -> None:
    """A run stops, and all that was there is there, or comes back when asked for."""
    assert isinstance(registry.backend, Memory)
    before = set(Memory.keys(registry.backend, layout.BLOBS))
    with pytest.raises(errors or (Doubtful,)):
        collect(registry, AT_ONCE)
    assert set(Memory.keys(registry.backend, layout.BLOBS)) == before
    STOPPED.append(os.environ.get("PYTEST_CURRENT_TEST", ""))


@pytest.mark.parametrize(
    "share", [1, 2, 50, 100], ids=lambda share: f"{share} % of the records left out"
)
def test_a_listing_that_leaves_out_what_was_there(
    registry: Registry, storage: Lying, share: int
) -> None:
    records = [key for key in storage.keys("repositories/") if "/_manifests/" in key]
    storage.hidden = set(records[:: 100 // share]).__contains__
    stops(registry)


def test_a_listing_that_is_empty(registry: Registry, storage: Lying) -> None:
    storage.hidden = lambda key: True
    stops(registry)


def test_a_listing_that_becomes_incomplete_in_the_middle_of_a_run(
    registry: Registry, storage: Lying
) -> None:
    records = [key for key in storage.keys("repositories/") if "/_manifests/" in key]

    def hide_after_the_first_look(key: str) -> bool:
        return key == records[0] and any(True for _ in Memory.keys(storage, layout.TRASH))

    storage.hidden = hide_after_the_first_look
    with pytest.raises(Doubtful):
        collect(registry, AT_ONCE)
    assert registry.content.size(digest(b"garbage")) == 7
    STOPPED.append("in the middle")


def test_a_manifest_that_cannot_be_read(registry: Registry, storage: Lying) -> None:
    victim = next(iter(registry.manifests.digests("a/1")))
    storage.broken = layout.blob(victim).__eq__
    stops(registry, Unavailable)


@pytest.mark.parametrize("damage", [b"", b'{"schemaVersion": 2', b"\0"])
def test_a_manifest_that_is_damaged(registry: Registry, storage: Lying, damage: bytes) -> None:
    victim = next(iter(registry.manifests.digests("a/1")))
    put(storage, layout.blob(victim), damage)
    stops(registry)


def test_a_manifest_that_is_lost(registry: Registry, storage: Lying) -> None:
    victim = next(iter(registry.manifests.digests("a/1")))
    storage.delete(layout.blob(victim))
    stops(registry)


def test_records_that_cannot_be_listed(registry: Registry, storage: Lying) -> None:
    storage.broken = lambda key: key.startswith("repositories/a/3/_manifests/")
    stops(registry, Unavailable)


def test_a_census_that_is_cut_short(registry: Registry, storage: Lying) -> None:
    put(storage, "gc/census", b"123")
    stops(registry, StorageError)


def test_a_storage_that_is_exchanged_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one is mounted in its place: nothing of either goes."""
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
        backend = Filesystem(str(tmp_path / name), reserve_bytes=0)
        initialise(backend)
        local_registry(backend).content.put(digest(b"garbage"), [b"garbage"])
    registry = local_registry(Filesystem(str(tmp_path / "own"), reserve_bytes=0))

    def exchange(_: float) -> None:
        (tmp_path / "own").rename(tmp_path / "away")
        (tmp_path / "other").rename(tmp_path / "own")

    monkeypatch.setattr(collector, "_wait", exchange)
    with pytest.raises(Unavailable):
        collect(registry, AT_ONCE)
    for name, place in (("own", "blobs/sha256/*/*"), ("away", "trash/sha256/*/*")):
        assert len(list((tmp_path / name).glob(place))) == 1
    STOPPED.append("exchanged")


def test_an_operator_may_say_that_what_is_lost_is_lost(registry: Registry, storage: Lying) -> None:
    for key in list(storage.keys("repositories/a/3/_manifests/")):
        storage.delete(key)
    stops(registry)
    Census().save(storage)
    assert len(collect(registry, AT_ONCE).purged) == 1 + 2 * len(range(3, 100, 7))
