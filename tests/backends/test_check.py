"""check_storage: passes on every backend, and each check fails on one that breaks its sentence."""

from __future__ import annotations

import errno
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from backends import Backend, Filesystem, Memory, check_storage, put
from backends.check import CHECKS
from backends.errors import Corrupt, Full, NotFound, RangeInvalid, StorageError, Unavailable
from tests.backends import broken
from tests.backends.conftest import Reopen
from tests.backends.fake_os import FakeOs


def test_every_check_passes_and_nothing_is_left(backend: Backend, reopen: Reopen) -> None:
    put(backend, "kept", b"x")
    before = list(backend.keys(""))
    results = list(check_storage(backend, reopen()))
    assert [result for result in results if not result.ok] == []
    assert [result.name for result in results] == [*CHECKS, "clean up"]
    assert all(result.message for result in results)
    assert list(backend.keys("")) == before


def test_one_handle_is_enough() -> None:
    assert all(result.ok for result in check_storage(Memory()))


BROKEN: list[tuple[str, Callable[[], Memory]]] = [
    ("write and read", broken.Changing),
    ("write and read", broken.WrongSize),
    ("ranges", broken.Clamping),
    ("ranges", broken.OffByOne),
    ("absence", broken.Inventing),
    ("absence", broken.Mistaking),
    ("late naming", broken.Early),
    ("replace", broken.Following),
    ("replace", broken.Keeping),
    ("link", broken.Aliasing),
    ("link", broken.Unlinking),
    ("delete", broken.Undead),
    ("delete", broken.Strict),
    ("trash", broken.Aliasing),
    ("trash", broken.Leaving),
    ("order", broken.ByComponent),
    ("order", broken.Inclusive),
    ("several connections", broken.Mixing),
    ("case of names", broken.NoUpperCase),
    ("revisions", broken.NoRevision),
    ("space", broken.NoSpace),
    ("clean up", broken.Undead),
]


@pytest.mark.parametrize(("check", "storage"), BROKEN)
def test_a_broken_promise_is_found(check: str, storage: Callable[[], Memory]) -> None:
    (result,) = [one for one in check_storage(storage()) if one.name == check]
    assert not result.ok
    assert result.message


def test_every_check_has_a_backend_that_breaks_it() -> None:
    tried = {check for check, _ in BROKEN} | {"two handles"}
    assert tried == {*CHECKS, "clean up"}


def test_a_second_handle_of_another_storage_is_found() -> None:
    results = {one.name: one for one in check_storage(Memory(), Memory())}
    assert not results["two handles"].ok
    assert results["ranges"].ok


def test_a_storage_that_ignores_case_is_good_enough_and_told() -> None:
    results = {one.name: one for one in check_storage(broken.LowerCase())}
    assert all(result.ok for result in results.values())
    assert "are one" in results["case of names"].message


@pytest.mark.parametrize("error", [Unavailable, Full, Corrupt, NotFound, RangeInvalid])
def test_an_error_is_a_result(error: type[StorageError]) -> None:
    backend = broken.Raising()
    backend.error = error("in words")
    results = list(check_storage(backend))
    assert [one.name for one in results] == [*CHECKS, "clean up"]
    assert not results[0].ok
    assert results[0].message == f"{error.__name__}: in words"


def test_a_check_that_is_broken_off_cleans_up() -> None:
    backend = Memory()
    checks = check_storage(backend)
    next(checks), next(checks)
    assert list(backend.keys(""))
    checks.close()  # type: ignore[attr-defined]
    assert list(backend.keys("")) == []


def test_a_storage_that_is_not_there_fails_every_check_that_writes(files: Filesystem) -> None:
    for marker in list(files.keys("_store/")):
        files.delete(marker)
    results = {one.name: one.ok for one in check_storage(files)}
    assert not any(results.values())


def test_a_read_only_storage_is_found(files: Filesystem, fake: FakeOs) -> None:
    fake.instead["open"] = _read_only
    results = {one.name: one for one in check_storage(files)}
    assert "Read-only" in results["write and read"].message
    assert results["absence"].ok


def _read_only(path: str, flags: int, *args: int, **options: int) -> int:
    import os

    if flags & os.O_CREAT:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    return os.open(path, flags, *args, **options)


def test_a_full_disk_is_told_in_words(
    files: Filesystem, fake: FakeOs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.check._REVISION_SECONDS", 0.0)
    status = {"f_frsize": 1, "f_blocks": 10**9, "f_bavail": 0, "f_files": 10, "f_favail": 5}
    fake.instead["fstatvfs"] = lambda fd: SimpleNamespace(**status)
    results = {one.name: one for one in check_storage(files)}
    assert not results["write and read"].ok and "reserve" in results["write and read"].message
    assert not results["space"].ok
    assert results["delete"].ok and results["clean up"].ok
