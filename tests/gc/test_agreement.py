"""Folders that each node has a copy of: nothing goes before all nodes have looked."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from backends import Filesystem, initialise
from distserver.oci.digests import Digest
from distserver.oci.names import Tag
from distserver.registry import Registry, layout, local_registry
from distserver.registry.gc import Limits, Report, collect
from distserver.registry.gc.agreement import Cluster, agree
from distserver.registry.gc.mark import Doubtful
from tests.gc.pushed import CONFIG, contents, digest, manifest, pulls, push, put, trashed

AT_ONCE = Limits(grace_seconds=0, hold_seconds=0)
COUNT = 3
LOCAL = ("tmp", "hints")


@dataclass(frozen=True)
class Node:
    """A node with its copy of the folder."""

    name: str
    path: Path

    @property
    def registry(self) -> Registry:
        return local_registry(Filesystem(str(self.path), reserve_bytes=0))

    def collect(self) -> Report:
        return collect(self.registry, AT_ONCE, cluster=Cluster(self.name, COUNT))

    def agree(self) -> int:
        return agree(self.registry, self.name)

    def files(self) -> set[str]:
        """All files that are copied."""
        found = (path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file())
        return {str(path) for path in found if path.parts[0] not in LOCAL}


class Folder:
    """What Syncthing does, when a test says so: files and deletions go from one node to another."""

    def __init__(self, root: Path) -> None:
        self.nodes = [Node(name, root / name) for name in "abc"]
        self._known: dict[tuple[str, str], set[str]] = {}
        self.nodes[0].path.mkdir()
        initialise(self.nodes[0].registry.backend)
        for node in self.nodes[1:]:
            shutil.copytree(self.nodes[0].path, node.path)

    def copy(self, source: Node, target: Node) -> None:
        """Bring what is new at the source, and take what it has deleted since the last time."""
        before = self._known.get((source.name, target.name), set())
        now = source.files()
        for gone in before - now:
            (target.path / gone).unlink(missing_ok=True)
        for new in now - before:
            if not (target.path / new).exists():
                (target.path / new).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source.path / new, target.path / new)
        self._known[source.name, target.name] = now
        self._known.setdefault((target.name, source.name), set()).update(now)
        self._known[target.name, source.name] -= before - now

    def settle(self) -> None:
        """Copy until all have everything."""
        for _ in range(2):
            for source in self.nodes:
                for target in self.nodes:
                    if source is not target:
                        self.copy(source, target)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Three nodes with an image and a blob that nobody needs, which said that they take part."""
    folder = Folder(tmp_path)
    push(folder.nodes[0].registry, "a", "kept", b"kept")
    folder.nodes[0].registry.blobs.put("a", digest(b"old"), [b"old"])
    folder.settle()
    for node in folder.nodes:
        node.agree()
    folder.settle()
    return folder


def rounds(folder: Folder) -> None:
    for node in folder.nodes:
        node.agree()
    folder.settle()


def test_what_nobody_needs_goes_everywhere_when_all_agreed(folder: Folder) -> None:
    one = folder.nodes[0]
    assert set(one.collect().condemned) == {digest(b"old")}
    assert one.collect().purged == {}
    folder.settle()
    rounds(folder)
    assert set(one.collect().purged) == {digest(b"old")}
    folder.settle()
    for node in folder.nodes:
        assert trashed(node.registry) == []
        assert contents(node.registry) == {
            digest(part) for part in (CONFIG, b"kept", manifest(b"kept"))
        }


def test_one_silent_node_is_enough_to_keep_everything(folder: Folder) -> None:
    one, two, _ = folder.nodes
    one.collect()
    folder.settle()
    two.agree()
    folder.settle()
    assert one.collect().purged == {}
    assert len(trashed(one.registry)) == 1


def test_nothing_is_taken_before_all_nodes_take_part(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with pytest.raises(Doubtful, match="1 of 3 nodes"):
        folder.nodes[0].collect()


def test_a_push_elsewhere_at_the_same_time_keeps_what_it_counts_on(folder: Folder) -> None:
    """It was acknowledged before the deletion came, and comes back from the trash."""
    one, two, three = folder.nodes
    one.collect()
    two.registry.blobs.put("a", digest(CONFIG), [CONFIG])
    put(two.registry, "a", "late", manifest(b"old"))
    folder.copy(one, two)
    folder.copy(one, three)
    assert pulls(two.registry, "a", Tag("late"))
    two.agree()
    three.agree()
    folder.settle()
    rounds(folder)
    for _ in range(3):
        one.collect()
        folder.settle()
        rounds(folder)
    for node in folder.nodes:
        assert pulls(node.registry, "a", Tag("late")), node


def test_a_node_does_not_agree_to_what_has_not_arrived(folder: Folder) -> None:
    one, two, _ = folder.nodes
    one.collect()
    (entry,) = trashed(one.registry)
    os.rename(one.path / entry, one.path.parent / "held back")
    folder.copy(one, two)
    assert two.agree() == 0
    os.rename(one.path.parent / "held back", one.path / entry)
    folder.copy(one, two)
    assert two.agree() == 1


def test_a_node_brings_back_what_it_needs_before_it_agrees(folder: Folder) -> None:
    one, two, _ = folder.nodes
    put(two.registry, "a", "late", manifest(b"old"))
    one.collect()
    folder.copy(one, two)
    (two.path / layout.blob(digest(b"old"))).unlink(missing_ok=True)
    two.agree()
    assert digest(b"old") in contents(two.registry)
    assert isinstance(digest(b"old"), Digest)
