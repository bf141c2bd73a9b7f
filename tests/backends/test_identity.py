"""Storage identity: a known storage found empty or swapped is unavailable, never empty."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backends import Filesystem, initialise, put, read_all, store_ids
from backends.errors import Unavailable
from tests.backends.fake_os import FakeOs

Verb = Callable[[Filesystem, Path], object]


def _adopt(files: Filesystem, spare: Path) -> None:
    spare.write_bytes(b"x")
    files.adopt(str(spare), "adopted")


VERBS: dict[str, Verb] = {
    "stat": lambda files, spare: files.stat("entry"),
    "open": lambda files, spare: files.open("entry").close(),
    "create": lambda files, spare: files.create().abort(),
    "link": lambda files, spare: files.link("entry", "other"),
    "delete": lambda files, spare: files.delete("absent"),
    "keys": lambda files, spare: list(files.keys("")),
    "adopt": _adopt,
    "revision": lambda files, spare: files.revision(""),
    "local_path": lambda files, spare: files.local_path("entry"),
    "space": lambda files, spare: files.space(),
    "sweep": lambda files, spare: files.sweep(0),
}


def _take_away(root: Path, how: str) -> None:
    """Do to a storage what happens to mounts; _bring_back undoes it."""
    root.rename(root.with_name("away"))
    if how != "missing":
        root.mkdir()
    if how == "swapped":
        initialise(Filesystem(root))
        put(Filesystem(root), "entry", b"of another storage")
    if how == "a file":
        root.rmdir()
        root.write_bytes(b"")


def _bring_back(root: Path) -> None:
    if root.exists():
        root.rename(root.with_name("was there meanwhile"))
    root.with_name("away").rename(root)


@pytest.fixture
def known(root: Path) -> Filesystem:
    """A storage whose id is remembered, with one entry."""
    (store_id,) = store_ids(Filesystem(root))
    put(Filesystem(root), "entry", b"ours")
    return Filesystem(root, expected_id=store_id, reserve_bytes=0, reserve_inodes=0)


WAYS = ["missing", "empty", "swapped", "a file"]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("how", WAYS)
def test_a_storage_that_goes_away_is_unavailable_and_comes_back(
    known: Filesystem,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    verb: str,
) -> None:
    assert read_all(known, "entry", 99) == b"ours"
    _take_away(root, how)
    monkeypatch.setattr("backends.room._MEASURED_FOR_SECONDS", 0.0)
    with pytest.raises(Unavailable):
        VERBS[verb](known, tmp_path / "spare")
    _bring_back(root)
    VERBS[verb](known, tmp_path / "spare")
    assert read_all(known, "entry", 99) == b"ours"


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("how", WAYS)
def test_a_storage_that_is_away_at_the_start_comes_later(
    known: Filesystem, root: Path, tmp_path: Path, how: str, verb: str
) -> None:
    _take_away(root, how)
    with pytest.raises(Unavailable):
        VERBS[verb](known, tmp_path / "spare")
    _bring_back(root)
    VERBS[verb](known, tmp_path / "spare")


@pytest.mark.parametrize("how", WAYS)
def test_a_write_under_way_when_it_goes_shows_nowhere(
    known: Filesystem, root: Path, how: str
) -> None:
    with known.create() as writer:
        writer.write(b"x")
        _take_away(root, how)
        with pytest.raises(Unavailable):
            writer.commit("late")
    assert not list(root.rglob("late")) and not list(root.with_name("away").rglob("late"))
    assert list((root.with_name("away") / "tmp").iterdir()) == []


def test_a_write_never_ends_in_a_twin_with_the_same_identity(known: Filesystem, root: Path) -> None:
    """Such as a snapshot that is mounted in the storage's place."""
    with known.create() as writer:
        writer.write(b"x")
        root.rename(root.with_name("away"))
        shutil.copytree(root.with_name("away"), root)
        with pytest.raises(Unavailable):
            writer.commit("new/late")
    assert not (root / "new").exists() and not (root.with_name("away") / "new").exists()


def test_threads_that_work_while_it_goes_and_comes_see_all_or_unavailable(
    known: Filesystem, root: Path
) -> None:
    stop = threading.Event()

    def work(number: int) -> int:
        count = 0
        while count == 0 or not stop.is_set():
            try:
                assert read_all(known, "entry", 9) == b"ours"
                assert "entry" in list(known.keys(""))
                put(known, f"d/{number}", b"x")
                assert read_all(known, f"d/{number}", 9) == b"x"
                count += 1
            except Unavailable:
                continue
        return count

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(work, number) for number in range(4)]
        for turn in range(20):
            _take_away(root, ("missing", "empty", "swapped")[turn % 3])
            if root.exists():
                root.rename(root.with_name(f"meanwhile-{turn}"))
            root.with_name("away").rename(root)
        stop.set()
    assert min(one.result() for one in done) > 0
    assert known.stat("entry").size == 4
    assert not [path for path in root.parent.glob("meanwhile-*/d/*")]


def test_a_listing_under_way_when_it_goes_does_not_end_as_if_complete(
    known: Filesystem, root: Path
) -> None:
    put(known, "z/last", b"x")
    found = known.keys("")
    next(found)
    _take_away(root, "empty")
    with pytest.raises(Unavailable):
        list(found)


def test_without_a_remembered_id_the_first_one_met_is_kept(root: Path) -> None:
    files = Filesystem(root, reserve_bytes=0)
    put(files, "entry", b"ours")
    _take_away(root, "swapped")
    for _ in range(2):
        with pytest.raises(Unavailable, match="another storage"):
            files.stat("entry")
    _bring_back(root)
    assert read_all(files, "entry", 99) == b"ours"


def test_an_identity_that_a_merge_adds_changes_nothing(known: Filesystem, root: Path) -> None:
    first = Filesystem(root)
    assert first.stat("entry") == known.stat("entry")
    (root / "_store" / "0").write_bytes(b'{"format": 1}')
    for files in (first, known):
        files._root.forget()
        assert read_all(files, "entry", 9) == b"ours"


def test_an_open_reader_survives_an_unmount(known: Filesystem, root: Path) -> None:
    with known.open("entry") as reader:
        _take_away(root, "missing")
        assert reader.read() == b"ours"


@pytest.mark.parametrize(
    ("call", "ask"),
    [
        ("stat", lambda files: files.stat("absent")),
        ("open", lambda files: files.open("absent")),
        ("stat", lambda files: files.link("absent", "other")),
        ("unlink", lambda files: files.delete("absent")),
        ("open", lambda files: list(files.keys("absent/"))),
    ],
    ids=["stat", "open", "link", "delete", "keys"],
)
def test_it_went_away_between_the_question_and_the_answer(
    known: Filesystem, root: Path, fake: FakeOs, call: str, ask: Callable[[Filesystem], object]
) -> None:
    """ENOENT from a storage that is no longer in place says nothing about the key."""

    def vanish(path: object, *args: object, **options: object) -> object:
        if path == "absent":
            fake.instead.pop(call)
            _take_away(root, "empty")
        return getattr(os, call)(path, *args, **options)

    fake.instead[call] = vanish
    with pytest.raises(Unavailable):
        ask(known)
    assert call not in fake.instead


def test_an_identity_that_is_removed_makes_it_unavailable(known: Filesystem, root: Path) -> None:
    for marker in (root / "_store").iterdir():
        marker.unlink()
    with pytest.raises(Unavailable):
        known.stat("entry")


def test_nothing_is_opened_before_the_first_use(tmp_path: Path) -> None:
    files = Filesystem(tmp_path / "missing")
    with pytest.raises(Unavailable, match="does not exist"):
        files.stat("key")


def test_errors_tell_an_operator_what_is_wrong(known: Filesystem, root: Path) -> None:
    for how, words in (("empty", "not mounted"), ("swapped", "another storage is mounted")):
        _take_away(root, how)
        with pytest.raises(Unavailable, match=words):
            known.stat("entry")
        _bring_back(root)
        for rest in root.parent.glob("was there meanwhile"):
            rest.rename(root.with_name(f"meanwhile {how}"))
