"""check_storage: passes on every backend, and each check fails on one that breaks its sentence."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from backends import Backend, Filesystem, Memory, check_storage, put
from backends.base import Entry, Reader, Space, Writer
from backends.check import CHECKS
from backends.errors import Corrupt, Full, NotFound, RangeInvalid, StorageError, Unavailable
from backends.memory import _MemoryWriter
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


class Changing(Memory):
    """Flips a byte of what it stores."""

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        reader = super().open(key, start, stop)
        whole = reader.read()
        reader.read = lambda n=-1: whole[:-1] + b"?" if whole else b""  # type: ignore[method-assign]
        return reader


class WrongSize(Memory):
    """Tells sizes in blocks."""

    def stat(self, key: str) -> Entry:
        return Entry(-(-super().stat(key).size // 512) * 512, 0.0)


class Clamping(Memory):
    """Takes any range and gives what there is of it."""

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        size = self.stat(key).size
        start = min(max(start, 0), size)
        return super().open(key, start, min(max(start, size if stop is None else stop), size))


class OffByOne(Memory):
    """Takes the end of a range as included, as HTTP does."""

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        size = self.stat(key).size
        inside = stop is not None and start <= stop < size
        return super().open(key, start, stop + 1 if inside and stop is not None else stop)


class Inventing(Memory):
    """Knows every key, with nothing in it."""

    def stat(self, key: str) -> Entry:
        return super().stat(key) if key in self._entries else Entry(0, 0.0)


class Mistaking(Memory):
    """Says unavailable of what is absent."""

    def stat(self, key: str) -> Entry:
        try:
            return super().stat(key)
        except NotFound as exc:
            raise Unavailable(key) from exc


class Early(Memory):
    """Shows an entry while it is written: names are chosen first."""

    def stat(self, key: str) -> Entry:
        return Entry(0, 0.0) if key.endswith("/late") else super().stat(key)


class Following(Memory):
    """Readers follow the entry instead of keeping its bytes."""

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        reader = super().open(key, start, stop)
        reader.read = lambda n=-1: Memory.open(self, key, start, stop).read(n)  # type: ignore[method-assign]
        return reader


class Keeping(Memory):
    """Keeps the first bytes of a key for ever."""

    def create(self) -> Writer:
        kept = dict(self._entries)
        writer = _MemoryWriter(self._entries)
        commit = writer.commit

        def keep(key: str) -> None:
            commit(key)
            if key in kept:
                self._entries[key] = kept[key]

        writer.commit = keep  # type: ignore[method-assign]
        return writer


class Aliasing(Memory):
    """A link dies with its source."""

    def link(self, source: str, target: str) -> None:
        super().link(source, target)
        self.links = {**getattr(self, "links", {}), source: target}

    def delete(self, key: str) -> None:
        super().delete(key)
        self._entries.pop(getattr(self, "links", {}).get(key, key), None)


class Unlinking(Memory):
    """Links only where there is no target yet."""

    def link(self, source: str, target: str) -> None:
        if target not in self._entries:
            super().link(source, target)


class Undead(Memory):
    """Deletes nothing."""

    def delete(self, key: str) -> None:
        return None


class Strict(Memory):
    """Will not delete twice."""

    def delete(self, key: str) -> None:
        self.stat(key)
        super().delete(key)


class ByComponent(Memory):
    """Lists in the order of the components, as a plain directory walk does."""

    def keys(self, prefix: str, after: str = "", settle: bool = False) -> Iterator[str]:
        return iter(sorted(super().keys(prefix, after), key=lambda key: key.split("/")))


class Inclusive(Memory):
    """Lists the key that the caller has already seen."""

    def keys(self, prefix: str, after: str = "", settle: bool = False) -> Iterator[str]:
        return iter([key for key in super().keys(prefix) if key >= after])


class Mixing(Memory):
    """Gives one entry's bytes for another's."""

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        return super().open(key[:-1] + "0" if "/connection-" in key else key, start, stop)


class NoUpperCase(Memory):
    """Cannot store a name in upper case at all."""

    def create(self) -> Writer:
        writer = _MemoryWriter(self._entries)
        commit = writer.commit

        def refuse(key: str) -> None:
            if key.endswith("/A"):
                raise Unavailable(key)
            commit(key)

        writer.commit = refuse  # type: ignore[method-assign]
        return writer


class NoRevision(Memory):
    """Offers revisions and cannot tell them."""

    def revision(self, prefix: str) -> tuple[int, ...] | None:
        raise Unavailable(prefix)


class NoSpace(Memory):
    """Has only its reserve left."""

    def space(self) -> Space:
        return Space(free_bytes=10, usable_bytes=0, usable_inodes=5)


BROKEN: list[tuple[str, Callable[[], Memory]]] = [
    ("write and read", Changing),
    ("write and read", WrongSize),
    ("ranges", Clamping),
    ("ranges", OffByOne),
    ("absence", Inventing),
    ("absence", Mistaking),
    ("late naming", Early),
    ("replace", Following),
    ("replace", Keeping),
    ("link", Aliasing),
    ("link", Unlinking),
    ("delete", Undead),
    ("delete", Strict),
    ("order", ByComponent),
    ("order", Inclusive),
    ("several connections", Mixing),
    ("case of names", NoUpperCase),
    ("revisions", NoRevision),
    ("space", NoSpace),
    ("clean up", Undead),
]


@pytest.mark.parametrize(("check", "broken"), BROKEN)
def test_a_broken_promise_is_found(check: str, broken: Callable[[], Memory]) -> None:
    (result,) = [one for one in check_storage(broken()) if one.name == check]
    assert not result.ok
    assert result.message


def test_every_check_has_a_backend_that_breaks_it() -> None:
    tried = {check for check, _ in BROKEN} | {"two handles"}
    assert tried == {*CHECKS, "clean up"}


def test_a_second_handle_of_another_storage_is_found() -> None:
    results = {one.name: one for one in check_storage(Memory(), Memory())}
    assert not results["two handles"].ok
    assert results["ranges"].ok


class LowerCase(Memory):
    """Takes names that differ in case for one, as some mounts do."""

    def create(self) -> Writer:
        writer = _MemoryWriter(self._entries)
        commit = writer.commit
        writer.commit = lambda key: commit(key.lower())  # type: ignore[method-assign]
        return writer

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        return super().open(key.lower(), start, stop)


def test_a_storage_that_ignores_case_is_good_enough_and_told() -> None:
    results = {one.name: one for one in check_storage(LowerCase())}
    assert all(result.ok for result in results.values())
    assert "are one" in results["case of names"].message


class Raising(Memory):
    """Fails every write with one error."""

    error: StorageError

    def create(self) -> Writer:
        raise self.error


@pytest.mark.parametrize("error", [Unavailable, Full, Corrupt, NotFound, RangeInvalid])
def test_an_error_is_a_result(error: type[StorageError]) -> None:
    backend = Raising()
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


def test_a_full_disk_is_told_in_words(files: Filesystem, fake: FakeOs) -> None:
    status = {"f_frsize": 1, "f_blocks": 10**9, "f_bavail": 0, "f_files": 10, "f_favail": 5}
    fake.instead["fstatvfs"] = lambda fd: SimpleNamespace(**status)
    results = {one.name: one for one in check_storage(files)}
    assert not results["write and read"].ok and "reserve" in results["write and read"].message
    assert not results["space"].ok
    assert results["delete"].ok and results["clean up"].ok
