"""Contract: what is restored has its own bytes, what is erased takes no other's along."""

from __future__ import annotations

import random

import pytest

from backends import Backend, erase, put, read_all, restore
from backends.errors import NotFound
from tests.backends.conftest import Reopen

LARGE = random.Random(7).randbytes(300_000)
SIZES = pytest.mark.parametrize("data", [b"", b"small", LARGE], ids=["empty", "small", "large"])


def whole(backend: Backend, key: str) -> bytes:
    return read_all(backend, key, len(LARGE))


@SIZES
def test_what_is_restored_outlives_the_source_that_is_erased(
    backend: Backend, reopen: Reopen, data: bytes
) -> None:
    put(backend, "trash/entry", data)
    restore(backend, "trash/entry", "new/directory/entry")
    assert whole(reopen(), "trash/entry") == whole(reopen(), "new/directory/entry") == data
    erase(backend, "trash/entry")
    assert whole(reopen(), "new/directory/entry") == data
    assert reopen().stat("new/directory/entry").size == len(data)


def test_a_restored_entry_replaces_whole_and_leaves_readers_alone(backend: Backend) -> None:
    put(backend, "trash/entry", LARGE)
    put(backend, "entry", b"older")
    with backend.open("entry") as reader:
        for _ in range(2):
            restore(backend, "trash/entry", "entry")
        assert reader.read() == b"older"
    assert whole(backend, "entry") == LARGE


def test_an_entry_can_be_restored_to_its_own_place(backend: Backend) -> None:
    put(backend, "entry", LARGE)
    restore(backend, "entry", "entry")
    assert whole(backend, "entry") == LARGE


def test_nothing_is_restored_from_nothing(backend: Backend) -> None:
    put(backend, "entry", b"older")
    for source in ("absent", "no/such/directory"):
        with pytest.raises(NotFound):
            restore(backend, source, "entry")
    assert whole(backend, "entry") == b"older"


@SIZES
def test_erased_is_absent_and_again_is_success(
    backend: Backend, reopen: Reopen, data: bytes
) -> None:
    put(backend, "entry", data)
    for _ in range(2):
        erase(backend, "entry")
        with pytest.raises(NotFound):
            reopen().stat("entry")
    erase(backend, "never/was/there")
    put(backend, "entry", data)
    assert whole(backend, "entry") == data


@pytest.mark.parametrize("gone", ["entry", "link"])
def test_erasing_one_name_leaves_the_bytes_to_the_other(backend: Backend, gone: str) -> None:
    put(backend, "entry", LARGE)
    backend.link("entry", "link")
    erase(backend, gone)
    (kept,) = {"entry", "link"} - {gone}
    assert whole(backend, kept) == LARGE
