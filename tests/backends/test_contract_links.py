"""Contract: links name the same bytes and live on their own; deletes are idempotent."""

from __future__ import annotations

import pytest

from backends import Backend, put, read_all
from backends.errors import NotFound
from tests.backends.conftest import Reopen


@pytest.fixture(autouse=True)
def _source(backend: Backend) -> None:
    put(backend, "source", b"bytes")


def test_a_link_names_the_same_bytes(backend: Backend, reopen: Reopen) -> None:
    backend.link("source", "new/directory/target")
    assert read_all(reopen(), "new/directory/target", 9) == b"bytes"
    assert reopen().stat("new/directory/target").size == reopen().stat("source").size


def test_an_existing_target_is_replaced_whole(backend: Backend, reopen: Reopen) -> None:
    put(backend, "target", b"an older and longer one")
    with backend.open("target") as reader:
        backend.link("source", "target")
        assert reader.read() == b"an older and longer one"
    assert read_all(reopen(), "target", 99) == b"bytes"


def test_linking_again_and_to_itself_is_success(backend: Backend) -> None:
    before = list(backend.keys(""))
    for target in ("target", "target", "source"):
        backend.link("source", target)
    assert read_all(backend, "source", 9) == read_all(backend, "target", 9) == b"bytes"
    assert len(list(backend.keys(""))) == len(before) + 1


@pytest.mark.parametrize("gone", ["source", "target"])
def test_a_link_and_its_source_outlive_each_other(backend: Backend, gone: str) -> None:
    backend.link("source", "target")
    backend.delete(gone)
    (kept,) = {"source", "target"} - {gone}
    assert read_all(backend, kept, 9) == b"bytes"


@pytest.mark.parametrize("changed", ["source", "target"])
def test_replacing_one_leaves_the_other(backend: Backend, changed: str) -> None:
    backend.link("source", "target")
    put(backend, changed, b"other")
    (kept,) = {"source", "target"} - {changed}
    assert read_all(backend, kept, 9) == b"bytes"
    assert read_all(backend, changed, 9) == b"other"


def test_a_link_of_nothing_is_not_found_and_changes_nothing(backend: Backend) -> None:
    put(backend, "target", b"older")
    for source in ("absent", "no/such/directory"):
        with pytest.raises(NotFound):
            backend.link(source, "target")
    assert read_all(backend, "target", 9) == b"older"


def test_delete_makes_absent_and_again_is_success(backend: Backend, reopen: Reopen) -> None:
    for _ in range(2):
        backend.delete("source")
        with pytest.raises(NotFound):
            reopen().stat("source")
    backend.delete("never/was/there")


def test_a_deleted_key_can_be_written_again(backend: Backend) -> None:
    for number in range(3):
        put(backend, "r/_uploads/session/part", b"%d" % number)
        assert read_all(backend, "r/_uploads/session/part", 9) == b"%d" % number
        backend.delete("r/_uploads/session/part")
    assert list(backend.keys("r/")) == []


def test_delete_takes_one_entry_only(backend: Backend) -> None:
    for key in ("d/one", "d/one-more", "d/two"):
        put(backend, key, b"x")
    backend.delete("d/one")
    assert list(backend.keys("d/")) == ["d/one-more", "d/two"]
    backend.delete("d")
    assert list(backend.keys("d/")) == ["d/one-more", "d/two"]
