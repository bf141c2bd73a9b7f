"""Storage identity: a known storage found empty or swapped is unavailable, never empty."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from backends import Backend, Filesystem, Memory, initialise, open_backend, put, read_all, store_ids
from backends.errors import Full, Unavailable
from tests.backends.conftest import Reopen
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


def test_a_listing_under_way_when_it_goes_does_not_end_as_if_complete(
    known: Filesystem, root: Path
) -> None:
    put(known, "z/last", b"x")
    found = known.keys("")
    next(found)
    _take_away(root, "empty")
    with pytest.raises(Unavailable):
        list(found)


def test_an_open_reader_survives_an_unmount(known: Filesystem, root: Path) -> None:
    with known.open("entry") as reader:
        _take_away(root, "missing")
        assert reader.read() == b"ours"


def test_it_went_away_between_the_question_and_the_answer(
    known: Filesystem, root: Path, fake: FakeOs
) -> None:
    """ENOENT from a storage that is no longer in place says nothing about the key."""
    import os

    def vanish(path: object, *args: object, **options: object) -> object:
        if path == "absent":
            fake.instead.pop("stat")
            _take_away(root, "empty")
        return os.stat(path, *args, **options)  # type: ignore[call-overload]

    fake.instead["stat"] = vanish
    with pytest.raises(Unavailable):
        known.stat("absent")


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


def test_initialise_gives_one_identity_and_keeps_it(backend: Backend, reopen: Reopen) -> None:
    first = initialise(backend)
    assert initialise(reopen()) == first
    assert first in store_ids(reopen())


def test_initialise_only_when_entirely_empty(tmp_path: Path) -> None:
    (tmp_path / "somebody").mkdir()
    (tmp_path / "somebody" / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="not ours"):
        initialise(Filesystem(tmp_path))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "somebody"]


def test_initialise_of_a_memory_with_entries_is_refused() -> None:
    backend = Memory()
    put(backend, "entry", b"x")
    with pytest.raises(Unavailable):
        initialise(backend)


def test_a_new_mount_counts_as_empty(tmp_path: Path) -> None:
    """Also a start that was cut short, which leaves empty directories."""
    for name in ("lost+found", "tmp", "_store", "a/b/c", ".snapshot"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".nfs0001").write_bytes(b"")
    (tmp_path / "tmp" / "left").write_bytes(b"")
    assert initialise(Filesystem(tmp_path, reserve_bytes=0))


@pytest.mark.parametrize("kind", ["symbolic link", "pipe", "dangling link"])
def test_anything_foreign_counts_as_not_empty(tmp_path: Path, kind: str) -> None:
    import os

    if kind == "pipe":
        os.mkfifo(tmp_path / "x")
    else:
        (tmp_path / "x").symlink_to("/" if kind == "symbolic link" else "nowhere")
    with pytest.raises(Unavailable):
        initialise(Filesystem(tmp_path))


def _mark(root: Path, name: str, data: bytes) -> None:
    (root / "_store").mkdir(exist_ok=True)
    (root / "_store" / name).write_bytes(data)


@pytest.mark.parametrize("version", [0, 2, "1", 1.5, [1]])
def test_an_unknown_format_is_refused_loudly(root: Path, version: object) -> None:
    """Even beside an identity that is known: something newer has written here."""
    _mark(root, "newer", json.dumps({"format": version}).encode())
    for act in (lambda: Filesystem(root).stat("x"), lambda: initialise(Filesystem(root))):
        with pytest.raises(Unavailable, match="format"):
            act()


DAMAGED = {
    "empty": b"",
    "garbage": b"\xff\xfe\x00",
    "list": b"[1]",
    "no version": b"{}",
    "cut": b'{"format"',
    "nested": b"[" * 4000,
    "large": b'{"format": 1}' + b" " * 5000 + b"x",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_marker_counts_for_nothing(root: Path, tmp_path: Path, damage: str) -> None:
    ids = store_ids(Filesystem(root))
    _mark(root, "0-damaged", DAMAGED[damage])
    assert store_ids(Filesystem(root)) == ids
    Filesystem(root).space()
    alone = tmp_path / "alone"
    alone.mkdir()
    _mark(alone, "0-damaged", DAMAGED[damage])
    with pytest.raises(Unavailable):
        Filesystem(alone).space()


def test_several_identities_are_harmless(root: Path) -> None:
    (first,) = store_ids(Filesystem(root))
    _mark(root, "second", b'{"format": 1}')
    assert store_ids(Filesystem(root)) == {first, "second"}
    for store_id in (first, "second"):
        Filesystem(root, expected_id=store_id).space()


@pytest.mark.parametrize("kind", ["pipe", "symbolic link", "directory"])
def test_what_is_no_file_is_no_marker_and_hangs_nobody(root: Path, kind: str) -> None:
    import os

    place = root / "_store" / "0"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    else:
        place.symlink_to(next((root / "_store").iterdir()))
    assert Filesystem(root).space()
    assert "0" not in store_ids(Filesystem(root))


def test_a_write_of_the_identity_that_finds_no_room_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    fake = FakeOs(str(tmp_path)).install(monkeypatch)
    fake.fail("fsync", errno.ENOSPC)
    with pytest.raises(Full):
        initialise(Filesystem(tmp_path))
    fake.reset()
    assert store_ids(Filesystem(tmp_path)) == set()
    assert initialise(Filesystem(tmp_path)) in store_ids(Filesystem(tmp_path))


def test_urls_name_backends(tmp_path: Path) -> None:
    assert isinstance(open_backend("memory:"), Memory)
    for url in (str(tmp_path), f"file://{tmp_path}", f"file://localhost{tmp_path}"):
        initialise(open_backend(url))
    for url in ("relative", "file:relative", "file://host/x", "http://x/", "s3://bucket", ""):
        with pytest.raises(ValueError):
            open_backend(url)
