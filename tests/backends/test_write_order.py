"""The write order that survives loss of power, seen in the kernel calls (storage contract)."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from backends import Filesystem, put, read_all
from backends.errors import Full, NotFound, Unavailable
from tests.backends.fake_os import Call, FakeOs

CHANGES = {"write", "replace", "link", "unlink", "mkdir", "rmdir", "fsync"}


def _changes(fake: FakeOs) -> list[Call]:
    return [call for call in fake.calls if call.name in CHANGES]


def _is_temporary(path: str) -> bool:
    return path.startswith("tmp/")


def assert_durable(calls: list[Call], key: str) -> None:
    """Whether, after these calls, loss of power takes neither the bytes nor any name of the key."""
    placed = max(i for i, call in enumerate(calls) if call.name == "replace" and call.target == key)
    source = calls[placed].path
    _assert_content_synced(calls[:placed], source)
    parts = key.split("/")[:-1]
    directories = ["/".join(parts[:depth]) or "." for depth in range(len(parts), -1, -1)]
    synced = [call.path for call in calls[placed:] if call.name == "fsync"]
    assert synced == directories, "every directory upwards, after the rename"


def _assert_content_synced(calls: list[Call], source: str) -> None:
    name = source.rpartition("/")[2]
    about = [call.name for call in calls if call.path.endswith(name)]
    assert about[-1] != "write"
    assert "fsync" in about[len(about) - about[::-1].index("write") :], (
        "no fsync after the last write"
    )


def test_a_first_write_syncs_the_file_then_renames_then_syncs_every_ancestor(
    files: Filesystem, fake: FakeOs
) -> None:
    put(files, "a/b/c/key", b"x")
    assert_durable(fake.calls, "a/b/c/key")
    names = [call.name for call in _changes(fake) if call.name != "mkdir"]
    assert names == ["write", "fsync", "replace", "replace", *["fsync"] * 4]


def test_a_rename_is_the_last_thing_that_makes_it_visible(files: Filesystem, fake: FakeOs) -> None:
    put(files, "key", b"x")
    assert [(call.name, call.target or call.path) for call in _changes(fake)[-2:]] == [
        ("replace", "key"),
        ("fsync", "."),
    ]
    (write,) = fake.of("write")
    assert _is_temporary(write.path)


def test_ancestors_that_are_there_are_synced_once_by_each_process(
    root: Path, files: Filesystem, fake: FakeOs
) -> None:
    """Another process may have made them a moment ago and not be done."""
    put(files, "a/b/one", b"x")
    other = Filesystem(root, reserve_bytes=0)
    fake.reset()
    put(other, "a/b/two", b"x")
    assert_durable(fake.calls, "a/b/two")
    fake.reset()
    put(other, "a/b/three", b"x")
    assert [call.path for call in fake.of("fsync")][1:] == ["a/b"]


def test_a_session_directory_is_never_remembered_as_synced(files: Filesystem, fake: FakeOs) -> None:
    """Deletes remove it, so that the next one of that name is another."""
    put(files, "r/_uploads/s/one", b"x")
    fake.reset()
    put(files, "r/_uploads/s/two", b"x")
    assert [call.path for call in fake.of("fsync")][1:] == ["r/_uploads/s", "r/_uploads"]


def test_a_directory_that_somebody_removed_is_synced_anew(
    files: Filesystem, fake: FakeOs, root: Path
) -> None:
    put(files, "a/b/key", b"x")
    shutil.rmtree(root / "a")
    fake.reset()
    put(files, "a/b/key", b"x")
    assert_durable(fake.calls, "a/b/key")


def test_a_failed_sync_upwards_is_made_good_by_the_next_write(
    files: Filesystem, fake: FakeOs
) -> None:
    fake.fail("fsync", errno.EIO, where="a/b")
    with pytest.raises(Unavailable):
        put(files, "a/b/key", b"x")
    fake.reset()
    put(files, "a/b/key", b"x")
    assert_durable(fake.calls, "a/b/key")


def test_a_link_is_renamed_into_place_and_its_directories_synced(
    files: Filesystem, fake: FakeOs
) -> None:
    put(files, "source", b"x")
    fake.reset()
    files.link("source", "d/target")
    (linked,) = fake.of("link")
    placed = fake.of("replace")[-1]
    assert (linked.target, placed.target) == (placed.path, "d/target")
    assert [call.path for call in fake.of("fsync")] == ["d", "."]
    assert fake.calls.index(placed) < fake.calls.index(fake.of("fsync")[0])


def test_a_move_is_one_rename_and_syncs_where_it_leads_before_where_it_was(
    files: Filesystem, fake: FakeOs
) -> None:
    put(files, "a/source", b"x")
    fake.reset()
    files.move("a/source", "d/target")
    changes = [call for call in _changes(fake) if call.name not in ("mkdir", "fsync")]
    assert set(changes) == {Call("replace", "a/source", "d/target")}
    assert [call.path for call in fake.of("fsync")] == ["d", ".", "a"]
    assert fake.calls.index(fake.of("fsync")[0]) > fake.calls.index(fake.of("replace")[-1])


def test_the_last_entry_of_a_session_that_moves_takes_its_directory_along(
    files: Filesystem, fake: FakeOs, root: Path
) -> None:
    put(files, "r/_uploads/s/key", b"x")
    fake.reset()
    files.move("r/_uploads/s/key", "key")
    assert not (root / "r/_uploads/s").exists() and (root / "r/_uploads").is_dir()
    assert [call.path for call in fake.of("fsync")] == [".", "r/_uploads"]


def test_an_adopted_file_is_synced_before_its_rename(
    files: Filesystem, fake: FakeOs, tmp_path: Path
) -> None:
    (tmp_path / "finished").write_bytes(b"x")
    files.adopt(str(tmp_path / "finished"), "d/key")
    order = [(call.name, call.path) for call in fake.of("fsync", "replace")]
    assert order[0] == ("fsync", "../finished")
    assert [path for name, path in order if name == "fsync"] == ["../finished", "d", "."]
    assert order[-3][0] == "replace"


def test_a_delete_syncs_its_directory_after_the_unlink(files: Filesystem, fake: FakeOs) -> None:
    put(files, "d/key", b"x")
    fake.reset()
    files.delete("d/key")
    assert _changes(fake) == [Call("unlink", "d/key"), Call("fsync", "d")]


def test_a_delete_of_what_is_gone_syncs_all_the_same(files: Filesystem, fake: FakeOs) -> None:
    """Another process may have unlinked it and not have synced yet."""
    put(files, "d/key", b"x")
    files.delete("d/key")
    fake.reset()
    files.delete("d/key")
    assert fake.of("fsync") == [Call("fsync", "d")]
    fake.reset()
    files.delete("never/was/there")
    assert fake.of("fsync") == [Call("fsync", ".")]


def test_the_last_entry_of_a_session_takes_its_directory_along(
    files: Filesystem, fake: FakeOs, root: Path
) -> None:
    put(files, "r/_uploads/s/key", b"x")
    fake.reset()
    files.delete("r/_uploads/s/key")
    assert not (root / "r/_uploads/s").exists() and (root / "r/_uploads").is_dir()
    assert fake.of("fsync") == [Call("fsync", "r/_uploads")]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_failed_fsync_is_never_tried_again(files: Filesystem, fake: FakeOs, code: int) -> None:
    """The kernel may have dropped the pages and would report success."""
    fake.fail("fsync", code)
    with pytest.raises(Full if code != errno.EIO else Unavailable):
        put(files, "key", b"x")
    assert len(fake.of("fsync")) == 1
    assert fake.of("replace") == []
    with pytest.raises(NotFound):
        files.stat("key")


def test_a_file_that_came_out_short_is_not_renamed(files: Filesystem, fake: FakeOs) -> None:
    fake.instead["write"] = lambda fd, data: len(data)
    with pytest.raises(Unavailable):
        put(files, "key", b"x")
    assert fake.of("replace") == []


def test_short_writes_are_carried_on(files: Filesystem, fake: FakeOs) -> None:
    fake.instead["write"] = lambda fd, data: os.write(fd, memoryview(data)[:3])
    put(files, "key", b"0123456789")
    assert read_all(files, "key", 99) == b"0123456789"
    assert len(fake.of("write")) == 4


def test_a_lost_reply_of_a_rename_is_recognised(files: Filesystem, fake: FakeOs) -> None:
    """Over a network a reported failure does not mean that it did not happen."""

    def late(*args: object, **options: object) -> None:
        os.replace(*args, **options)  # type: ignore[arg-type]
        raise OSError(errno.EIO, "lost")

    fake.instead["replace"] = late
    put(files, "key", b"x")
    assert read_all(files, "key", 9) == b"x"
    files.move("key", "d/moved")
    assert read_all(files, "d/moved", 9) == b"x"


def test_a_file_that_will_not_close_is_not_named(files: Filesystem, fake: FakeOs) -> None:
    """NFS may report a full disk only at close."""
    writer = files.create()
    writer.write(b"x")
    fake.fail("close", errno.EDQUOT, where="tmp/")
    with pytest.raises(Full):
        writer.commit("key")
    assert fake.of("replace") == []


@pytest.mark.parametrize(
    "act",
    [
        lambda files: put(files, "a/key", b"x"),
        lambda files: files.link("source", "a/key"),
        lambda files: files.create().abort(),
        lambda files: files.link("source", "source"),
    ],
    ids=["put", "link", "abort", "link to itself"],
)
def test_no_temporary_is_left(
    files: Filesystem, root: Path, act: Callable[[Filesystem], None]
) -> None:
    put(files, "source", b"x")
    act(files)
    assert list((root / "tmp").iterdir()) == []
