"""Contract: entries are written under a late name, seen whole or not at all, and replaced whole."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from backends import Backend, put, read_all
from backends.errors import Corrupt, InvalidKey, NotFound, StorageError, Unavailable
from tests.backends.conftest import Reopen

LARGE = 3 * 1024 * 1024 + 1


@pytest.mark.parametrize("size", [0, 1, 65536, LARGE])
def test_a_second_handle_reads_what_was_committed(
    backend: Backend, reopen: Reopen, size: int
) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    put(backend, "a/entry", data[:size])
    assert read_all(reopen(), "a/entry", size) == data[:size]
    assert reopen().stat("a/entry").size == size


def test_modified_is_now_in_seconds_since_the_epoch(backend: Backend) -> None:
    put(backend, "entry", b"x")
    assert abs(backend.stat("entry").modified - time.time()) < 60


def test_absent_entries_are_not_found(backend: Backend) -> None:
    for key in ("absent", "no/such/directory"):
        with pytest.raises(NotFound):
            backend.stat(key)
        with pytest.raises(NotFound):
            backend.open(key)


def test_writes_are_joined_in_order(backend: Backend) -> None:
    with backend.create() as writer:
        for part in (b"one ", b"", b"two ", memoryview(b"three")):
            writer.write(part)
        writer.commit("joined")
    assert read_all(backend, "joined", 99) == b"one two three"


def test_a_writer_keeps_no_reference_to_what_it_was_given(backend: Backend) -> None:
    buffer = bytearray(b"before")
    with backend.create() as writer:
        writer.write(memoryview(buffer))
        buffer[:] = b"AFTER!"
        writer.commit("entry")
    assert read_all(backend, "entry", 99) == b"before"


def test_nothing_is_seen_before_the_commit(backend: Backend, reopen: Reopen) -> None:
    before = list(backend.keys(""))
    with backend.create() as writer:
        writer.write(b"half")
        with pytest.raises(NotFound):
            reopen().stat("late")
        assert list(reopen().keys("")) == before
        writer.commit("late")
    assert read_all(reopen(), "late", 99) == b"half"


def test_leaving_with_aborts(backend: Backend) -> None:
    before = list(backend.keys(""))
    with backend.create() as writer:
        writer.write(b"half")
    with pytest.raises(ZeroDivisionError), backend.create() as writer:
        writer.write(b"half")
        raise ZeroDivisionError
    assert list(backend.keys("")) == before


def test_abort_twice_and_after_a_commit_does_nothing(backend: Backend) -> None:
    writer = backend.create()
    writer.abort()
    writer.abort()
    writer = backend.create()
    writer.write(b"kept")
    writer.commit("entry")
    writer.abort()
    assert read_all(backend, "entry", 9) == b"kept"


@pytest.mark.parametrize("finish", ["abort", "commit"])
def test_a_finished_writer_takes_no_more(backend: Backend, finish: str) -> None:
    writer = backend.create()
    writer.write(b"x")
    if finish == "commit":
        writer.commit("entry")
    else:
        writer.abort()
    with pytest.raises(StorageError):
        writer.write(b"more")
    with pytest.raises(StorageError):
        writer.commit("second")
    with pytest.raises(NotFound):
        backend.stat("second")


def test_a_commit_under_a_wrong_name_shows_nothing(backend: Backend) -> None:
    before = list(backend.keys(""))
    with backend.create() as writer:
        writer.write(b"x")
        with pytest.raises(InvalidKey):
            writer.commit("../out")
    assert list(backend.keys("")) == before


def test_an_entry_is_replaced_whole(backend: Backend, reopen: Reopen) -> None:
    put(backend, "entry", b"old and long")
    put(backend, "entry", b"new")
    assert read_all(reopen(), "entry", 99) == b"new"
    assert reopen().stat("entry").size == 3


@pytest.mark.parametrize("change", ["replace", "delete"])
def test_open_readers_keep_their_bytes(backend: Backend, reopen: Reopen, change: str) -> None:
    put(backend, "entry", b"old bytes")
    with backend.open("entry") as reader:
        assert reader.read(4) == b"old "
        if change == "delete":
            reopen().delete("entry")
        else:
            put(reopen(), "entry", b"NEW BYTES")
        assert reader.read() == b"bytes"


def test_readers_see_one_version_whole_while_others_replace_it(
    backend: Backend, reopen: Reopen
) -> None:
    put(backend, "entry", bytes([0]) * 100_000)

    def replace(number: int) -> None:
        put(reopen(), "entry", bytes([number]) * 100_000)

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(replace, number) for number in range(1, 21)]
        while not all(one.done() for one in done):
            data = read_all(backend, "entry", 100_000)
            assert len(data) == 100_000
            assert len(set(data)) == 1
    assert all(one.exception() is None for one in done)


def test_an_entry_that_is_replaced_is_never_absent(backend: Backend, reopen: Reopen) -> None:
    put(backend, "entry", b"00")
    put(backend, "source", b"11")

    def replace() -> None:
        for _ in range(30):
            put(backend, "entry", b"00")
            backend.link("source", "entry")

    with ThreadPoolExecutor(1) as pool:
        done, other = pool.submit(replace), reopen()
        while not done.done():
            assert read_all(other, "entry", 2) in (b"00", b"11")
            assert "entry" in list(other.keys(""))
    assert done.exception() is None


def test_writers_do_not_disturb_each_other(backend: Backend) -> None:
    with backend.create() as one, backend.create() as two:
        one.write(b"1")
        two.write(b"2")
        one.write(b"1")
        two.commit("two")
        one.commit("one")
    assert read_all(backend, "one", 9) == b"11"
    assert read_all(backend, "two", 9) == b"2"


def test_one_handle_serves_many_threads(backend: Backend) -> None:
    def work(number: int) -> bytes:
        put(backend, f"threads/{number % 3}/{number}", b"%d" % number)
        return read_all(backend, f"threads/{number % 3}/{number}", 9)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(40), timeout=30)) == [b"%d" % n for n in range(40)]
    assert len(list(backend.keys("threads/"))) == 40


def test_read_all_refuses_what_is_too_large_for_us(backend: Backend) -> None:
    put(backend, "entry", b"12345")
    with pytest.raises(Corrupt):
        read_all(backend, "entry", 4)


def test_a_closed_writer_says_unavailable_not_absent(backend: Backend) -> None:
    """A caller must never take a finished writer for an absent entry."""
    writer = backend.create()
    writer.abort()
    with pytest.raises(Unavailable):
        writer.write(b"x")
