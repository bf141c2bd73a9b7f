"""The janitor, the cache and the catalogue."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends import Filesystem, Memory, initialise
from distserver.registry import janitor, local_registry
from distserver.registry.cache import ValidatedCache
from distserver.registry.catalog import upload_repositories


def test_only_sessions_without_progress_are_swept(tmp_path: Path) -> None:
    backend = Filesystem(str(tmp_path), reserve_bytes=0)
    initialise(backend)
    uploads = local_registry(backend).uploads
    old, fresh, touched = [uploads.begin("a", "") for _ in range(3)]
    uploads.append("a", touched, "", [b"x"], None)
    for session in (old, touched):
        os.utime(backend.local_path(f"repositories/a/_uploads/{session}/_open"), (1, 1))
    assert janitor.sweep(backend, uploads, 60) == 1
    assert uploads.size("a", fresh, "") == 0
    assert uploads.size("a", touched, "") == 1


def test_repositories_that_only_have_uploads_are_found() -> None:
    registry = local_registry(Memory())
    for name in ("a", "a/b", "a-b", "a/b/c"):
        registry.uploads.begin(name, "")
    assert sorted(upload_repositories(registry.backend)) == ["a", "a-b", "a/b", "a/b/c"]


class Revised(Memory):
    """A storage whose revision the test decides."""

    token: tuple[int, ...] | None = (1,)

    def revision(self, prefix: str) -> tuple[int, ...] | None:
        return self.token


def test_the_cache_asks_again_when_the_revision_changed() -> None:
    backend, loads = Revised(), iter(range(9))
    cache: ValidatedCache[int] = ValidatedCache(backend, 10_000)

    def get() -> int:
        return cache.get("key", ("p/",), lambda: next(loads))

    assert [get(), get()] == [0, 0]
    backend.token = (2,)
    assert [get(), get()] == [1, 1]
    backend.token = None
    assert [get(), get()] == [2, 3]


def test_the_cache_is_bounded_in_bytes() -> None:
    cache: ValidatedCache[bytes] = ValidatedCache(Revised(), 100, len)
    for number in range(50):
        cache.get(number, ("p/",), lambda: b"x" * 30)
    assert sum(slot.size for slot in cache._slots.values()) <= 100


@pytest.mark.parametrize("size", [101, 10_000])
def test_what_does_not_fit_is_not_kept(size: int) -> None:
    cache: ValidatedCache[bytes] = ValidatedCache(Revised(), 100, len)
    assert len(cache.get("big", ("p/",), lambda: b"x" * size)) == size
    assert len(cache._slots) == 0
