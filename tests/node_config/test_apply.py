"""Files are written whole and once, what was there is kept, and undo brings it back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from distserver.nodes.apply import BACKUP, RECORD, NodeFiles
from distserver.nodes.node import MAX_FILE_BYTES, Node, NodeError
from distserver.nodes.plan import File
from tests.node_config.conftest import Put

PATH = "/etc/some/where/file.conf"


def write(node: Node, text: str = "new", force: bool = False, precious: str = "") -> list[str]:
    return NodeFiles(node, force).write("f", [File(PATH, text.encode(), precious)])


def undo(node: Node, force: bool = False) -> list[str]:
    return NodeFiles(node, force).undo("f")


def all_files(node: Node) -> set[str]:
    return {str(path.relative_to(node.root)) for path in node.root.rglob("*")}


def test_new_and_back(node: Node) -> None:
    assert write(node) == [f"written {PATH}"]
    assert node.read(PATH) == b"new"
    assert node.path(PATH).stat().st_mode & 0o777 == 0o644
    assert undo(node) == [f"removed {PATH}"]
    assert all_files(node) == {"etc", "etc/distserver"}
    assert undo(node) == []


def test_twice_is_as_good_as_once(node: Node, put: Put) -> None:
    put(PATH, "old")
    write(node)
    before = node.path(PATH).stat().st_mtime_ns
    assert write(node) == [f"unchanged {PATH}"]
    assert node.path(PATH).stat().st_mtime_ns == before
    assert node.read(PATH + BACKUP) == b"old"


def test_the_first_state_is_what_comes_back(node: Node, put: Put) -> None:
    put(PATH, "old").chmod(0o600)
    write(node, "one")
    assert write(node, "two")[0].endswith(f"(before: {PATH}{BACKUP})")
    assert node.path(PATH).stat().st_mode & 0o777 == 0o600
    assert undo(node) == [f"as before {PATH}"]
    assert node.read(PATH) == b"old"
    assert node.path(PATH).stat().st_mode & 0o777 == 0o600
    assert not node.exists(PATH + BACKUP)


def test_a_change_by_hand_is_neither_overwritten_nor_undone(node: Node, put: Put) -> None:
    put(PATH, "old")
    write(node)
    put(PATH, "mine")
    for refused in (write, undo):
        with pytest.raises(NodeError, match="changed by hand"):
            refused(node, **({"text": "newer"} if refused is write else {}))
        assert node.read(PATH) == b"mine"
    assert NodeFiles(node).state(PATH) == "ours, changed by hand since"
    assert undo(node, force=True) == [f"as before {PATH}"]
    assert node.read(PATH) == b"old"


def test_nothing_is_undone_if_one_was_changed(node: Node, put: Put) -> None:
    NodeFiles(node).write("f", [File("/a", b"1"), File("/b", b"2")])
    put("/a", "mine")
    with pytest.raises(NodeError, match="/a"):
        undo(node)
    assert node.read("/b") == b"2"


def test_nothing_is_written_if_one_may_not_be(node: Node, put: Put) -> None:
    put("/b", "yours")
    with pytest.raises(NodeError, match="it is yours"):
        NodeFiles(node).write("f", [File("/a", b"1"), File("/b", b"2", "it is yours")])
    assert not node.exists("/a")
    NodeFiles(node, force=True).write("f", [File("/b", b"2", "it is yours")])
    assert node.read("/b" + BACKUP) == b"yours"


def test_what_is_not_wanted_any_more_goes(node: Node, put: Put) -> None:
    NodeFiles(node).write("f", [File("/a", b"1"), File("/b", b"2"), File("/c", b"3")])
    put("/c", "mine")
    lines = NodeFiles(node).write("f", [File("/a", b"1")])
    assert lines[:2] == ["unchanged /a", "removed /b"]
    assert lines[2].startswith("left /c")
    assert node.read("/c") == b"mine"


def test_other_families_are_left_alone(node: Node) -> None:
    NodeFiles(node).write("g", [File("/g", b"1")])
    write(node)
    undo(node)
    assert node.read("/g") == b"1"


def test_an_undo_that_was_cut_off_does_not_lose_the_old_file(node: Node, put: Put) -> None:
    """Killed between the renaming and the record: what is there is the only copy."""
    put(PATH, "old")
    write(node)
    node.path(PATH + BACKUP).rename(node.path(PATH))
    undo(node, force=True)
    assert node.read(PATH) == b"old"


@pytest.mark.parametrize("failing", ["link", "replace", "fsync"])
def test_a_failure_leaves_the_old_file(
    node: Node, put: Put, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(PATH, "old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    target = (Path, "replace") if failing == "replace" else (os, failing)
    monkeypatch.setattr(*target, fail)
    with pytest.raises(OSError, match="No space"):
        write(node)
    monkeypatch.undo()
    assert node.read(PATH) == b"old"
    write(node)
    undo(node)
    assert node.read(PATH) == b"old"


def test_killed_between_record_and_file(node: Node, put: Put) -> None:
    put(PATH, "old")
    write(node)
    put(PATH, "old")
    assert write(node)[0].startswith("written")
    put(PATH, "old")
    assert undo(node) == [f"as before {PATH}"]


def test_removed_by_hand(node: Node) -> None:
    write(node)
    node.path(PATH).unlink()
    assert write(node) == [f"written {PATH}"]
    node.path(PATH).unlink()
    undo(node)
    assert not node.exists(PATH)
    assert not node.exists(RECORD)


def test_a_backup_of_an_earlier_time_is_not_overwritten(node: Node, put: Put) -> None:
    put(PATH, "old")
    put(PATH + BACKUP, "oldest")
    with pytest.raises(NodeError, match="earlier time"):
        write(node)
    assert (node.read(PATH), node.read(PATH + BACKUP)) == (b"old", b"oldest")


def test_links(node: Node, put: Put, tmp_path: Path) -> None:
    """A file that is a link is somebody's arrangement; one out of the root is another machine's."""
    put("/etc/real.conf", "old")
    node.path("/etc/link.conf").symlink_to("real.conf")
    with pytest.raises(NodeError, match="is a link"):
        NodeFiles(node).write("f", [File("/etc/link.conf", b"1")])
    (tmp_path / "outside").mkdir()
    node.path("/out").symlink_to(tmp_path / "outside")
    with pytest.raises(NodeError, match="leads out of"):
        NodeFiles(node).write("f", [File("/out/file", b"1")])
    assert not list((tmp_path / "outside").iterdir())
    with pytest.raises(NodeError, match="leads out of"):
        node.exists("/out/file")


def test_damaged_record_and_large_files(node: Node, put: Put) -> None:
    put(PATH, "x" * (MAX_FILE_BYTES + 1))
    with pytest.raises(NodeError, match="larger than"):
        write(node)
    for damage in ("{", "[]", '{"a": {}}', '{"a": 1}'):
        put(RECORD, damage)
        with pytest.raises(NodeError, match="damaged"):
            undo(node)
