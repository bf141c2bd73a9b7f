"""What is particular to files: foreign things in the tree, errno by errno, temporaries, room."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from backends import Filesystem, put, read_all
from backends.errors import Corrupt, Full, NotFound, StorageError, Unavailable
from tests.backends.fake_os import FakeOs


@pytest.mark.parametrize("kind", ["symbolic link", "dangling link", "pipe", "directory", "socket"])
def test_only_regular_files_are_entries(files: Filesystem, root: Path, kind: str) -> None:
    """And a pipe in the place of an entry hangs nobody."""
    put(files, "d/real", b"x")
    _place(root / "d" / "odd", kind)
    for ask in (files.stat, files.open, files.local_path):
        with pytest.raises(NotFound):
            ask("d/odd")
    with pytest.raises(NotFound):
        files.link("d/odd", "d/target")
    assert list(files.keys("d/")) == ["d/real"]


def _place(path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        os.mknod(path, 0o140644)
    else:
        path.symlink_to("real" if kind == "symbolic link" else "nowhere")


@pytest.mark.parametrize("kind", ["symbolic link", "dangling link", "pipe", "socket"])
def test_a_write_replaces_what_is_no_entry(files: Filesystem, root: Path, kind: str) -> None:
    put(files, "d/real", b"real")
    _place(root / "d" / "odd", kind)
    put(files, "d/odd", b"x")
    assert read_all(files, "d/odd", 9) == b"x"
    assert read_all(files, "d/real", 9) == b"real"


def test_foreign_files_stay_invisible(files: Filesystem, root: Path) -> None:
    put(files, "d/real", b"x")
    for name in (".nfs01", "a b", "~lock", "x.sync-conflict-1", "ü", "sha256:0"):
        (root / "d" / name).write_bytes(b"")
    (root / "d" / ".stversions").mkdir()
    (root / "d" / ".stversions" / "old").write_bytes(b"")
    (root / "lost+found").mkdir()
    (root / "lost+found" / "x").write_bytes(b"")
    assert list(files.keys("d/")) == ["d/real"]
    assert not [key for key in files.keys("") if "lost" in key or key.startswith("tmp")]


def test_a_linked_directory_is_not_listed(files: Filesystem, root: Path) -> None:
    """A loop of links would make a listing endless."""
    put(files, "d/real", b"x")
    (root / "d" / "loop").symlink_to(root)
    assert list(files.keys("d/")) == ["d/real"]


def test_a_file_in_the_place_of_a_directory_is_damage_not_absence(
    files: Filesystem, root: Path
) -> None:
    put(files, "other", b"x")
    (root / "d").write_bytes(b"garbage")
    for act in (
        lambda: files.stat("d/x"),
        lambda: files.open("d/x"),
        lambda: put(files, "d/x", b""),
        lambda: files.delete("d/x"),
        lambda: list(files.keys("d/")),
    ):
        with pytest.raises(Unavailable):
            act()
    assert read_all(files, "other", 9) == b"x"
    assert os.listdir(root / "tmp") == []


PLACINGS: dict[str, Callable[[Filesystem, Path], None]] = {
    "put": lambda files, spare: put(files, "d/key", b"x"),
    "link": lambda files, spare: files.link("source", "d/key"),
    "adopt": lambda files, spare: files.adopt(str(spare), "d/key"),
}


@pytest.mark.parametrize("how", PLACINGS)
def test_an_empty_directory_in_the_place_of_an_entry_gives_way(
    files: Filesystem, root: Path, tmp_path: Path, how: str
) -> None:
    """Damage that a push can mend."""
    put(files, "source", b"x")
    (tmp_path / "spare").write_bytes(b"x")
    (root / "d" / "key").mkdir(parents=True)
    PLACINGS[how](files, tmp_path / "spare")
    assert read_all(files, "d/key", 9) == b"x"


@pytest.mark.parametrize("how", PLACINGS)
def test_a_directory_with_something_in_it_stays(
    files: Filesystem, root: Path, tmp_path: Path, how: str
) -> None:
    put(files, "source", b"x")
    (tmp_path / "spare").write_bytes(b"x")
    put(files, "d/key/inside", b"kept")
    with pytest.raises(Unavailable):
        PLACINGS[how](files, tmp_path / "spare")
    assert read_all(files, "d/key/inside", 9) == b"kept"
    assert os.listdir(root / "tmp") == []


def test_a_file_cut_short_while_it_is_read_is_corrupt(files: Filesystem, root: Path) -> None:
    put(files, "entry", b"0123456789")
    with files.open("entry", 2) as reader:
        os.truncate(root / "entry", 5)
        assert reader.read(99) == b"234"
        with pytest.raises(Corrupt):
            reader.read(99)
    with files.open("entry", 5) as reader:
        assert reader.read() == b""


CODES = {
    errno.EIO: Unavailable,
    errno.EACCES: Unavailable,
    errno.EPERM: Unavailable,
    errno.ENOTDIR: Unavailable,
    errno.ENAMETOOLONG: Unavailable,
    errno.EMFILE: Unavailable,
    errno.ETIMEDOUT: Unavailable,
    errno.EHOSTDOWN: Unavailable,
    errno.ENODEV: Unavailable,
    errno.ELOOP: Unavailable,
    errno.ENOENT: NotFound,
}


@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
def test_only_enoent_says_absent(files: Filesystem, fake: FakeOs, code: int) -> None:
    put(files, "entry", b"x")
    fake.fail("stat", code, where="entry")
    with pytest.raises(CODES[code]):
        files.stat("entry")
    fake.fail("open", code, where="entry")
    with pytest.raises(CODES[code] if code != errno.ELOOP else NotFound):
        files.open("entry")


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ESTALE], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["open", "scandir"])
def test_a_listing_that_fails_is_never_empty(
    files: Filesystem, fake: FakeOs, code: int, call: str
) -> None:
    put(files, "d/entry", b"x")
    fake.fail(call, code, where="d")
    with pytest.raises(Unavailable):
        list(files.keys("d/"))


@pytest.mark.parametrize("call", ["stat", "open"])
def test_a_stale_handle_is_asked_anew_once(files: Filesystem, fake: FakeOs, call: str) -> None:
    put(files, "entry", b"x")
    ask: Callable[[str], object] = {"stat": files.stat, "open": lambda k: files.open(k).close()}[
        call
    ]
    fake.fail(call, errno.ESTALE, where="entry")
    ask("entry")
    fake.fail(call, errno.ESTALE, times=5, where="entry")
    with pytest.raises(Unavailable):
        ask("entry")
    assert len([c for c in fake.of(call) if c.path == "entry"]) == 2


def test_a_stale_root_is_opened_anew(files: Filesystem, fake: FakeOs) -> None:
    put(files, "entry", b"x")
    fake.fail("stat", errno.ESTALE)
    assert files.stat("entry").size == 1


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE], ids=errno.errorcode.get)
def test_a_read_that_fails_is_unavailable(files: Filesystem, fake: FakeOs, code: int) -> None:
    put(files, "entry", b"x")
    with files.open("entry") as reader:
        fake.fail("read", code)
        with pytest.raises(Unavailable):
            reader.read()


@pytest.mark.parametrize(
    "code",
    [errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS],
    ids=errno.errorcode.get,
)
def test_where_there_are_no_hard_links_a_link_is_a_copy(
    files: Filesystem, fake: FakeOs, root: Path, code: int
) -> None:
    data = os.urandom(3 * 1024 * 1024 + 1)
    put(files, "source", data)
    put(files, "target", b"older")
    fake.fail("link", code, times=9)
    files.link("source", "target")
    assert read_all(files, "target", len(data)) == data
    assert (root / "source").stat().st_ino != (root / "target").stat().st_ino
    with pytest.raises(NotFound):
        files.link("absent", "target")
    assert os.listdir(root / "tmp") == []


def test_a_link_is_not_a_copy_where_it_need_not_be(files: Filesystem, root: Path) -> None:
    put(files, "source", b"x")
    files.link("source", "target")
    assert (root / "source").stat().st_ino == (root / "target").stat().st_ino


def test_a_link_that_fails_leaves_the_target(files: Filesystem, fake: FakeOs, root: Path) -> None:
    put(files, "source", b"new")
    put(files, "target", b"older")
    fake.fail("replace", errno.ENOSPC)
    with pytest.raises(Full):
        files.link("source", "target")
    assert read_all(files, "target", 9) == b"older"
    assert os.listdir(root / "tmp") == []


def test_a_directory_that_vanishes_before_the_rename_is_made_again(
    files: Filesystem, fake: FakeOs, root: Path
) -> None:
    """A delete of another process has just removed the session's directory."""
    gone = []

    def replace(*args: object, **options: object) -> None:
        if len(gone) < 3:
            gone.append(1)
            if (root / "r/_uploads/s").exists():
                (root / "r/_uploads/s").rmdir()
        os.replace(*args, **options)  # type: ignore[arg-type]

    fake.instead["replace"] = replace
    put(files, "r/_uploads/s/part", b"x")
    assert read_all(files, "r/_uploads/s/part", 9) == b"x"


def test_a_directory_that_vanishes_for_ever_ends_in_an_error(
    files: Filesystem, fake: FakeOs, root: Path
) -> None:
    fake.fail("replace", errno.ENOENT, times=1000)
    with pytest.raises(Unavailable):
        put(files, "d/key", b"x")
    assert len(fake.of("replace")) <= 10
    assert os.listdir(root / "tmp") == []


def test_writes_and_deletes_of_one_session_at_once(root: Path) -> None:
    """The directory comes and goes under the writers: each write is there or an error, at once."""
    errors: list[StorageError] = []

    def work(number: int) -> None:
        handle = Filesystem(root, reserve_bytes=0, reserve_inodes=0)
        for turn in range(20):
            key = f"r/_uploads/s/{number}-{turn}"
            try:
                put(handle, key, b"x")
                assert read_all(handle, key, 9) == b"x"
                handle.delete(key)
            except StorageError as exc:
                errors.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert not [exc for exc in errors if not isinstance(exc, Unavailable)]
    assert list(Filesystem(root).keys("r/")) == []


def test_a_forked_process_goes_on_with_the_handle_it_got(files: Filesystem) -> None:
    put(files, "before", b"x")
    child = os.fork()
    if child == 0:
        put(files, "child", files.open("before").read())
        os._exit(0)
    put(files, "parent", b"y")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert read_all(files, "child", 9) == b"x"
    assert [key for key in files.keys("") if "/" not in key] == ["before", "child", "parent"]


def test_no_descriptor_is_kept_but_the_root(files: Filesystem, tmp_path: Path) -> None:
    put(files, "source", b"x")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5):
        put(files, f"d/{number}", b"x")
        files.link("source", "d/link")
        read_all(files, "d/link", 9)
        files.delete("d/link")
        (tmp_path / "spare").write_bytes(b"x")
        files.adopt(str(tmp_path / "spare"), "adopted")
        list(files.keys("")), files.sweep(0), files.space(), files.revision("d/")
    assert len(os.listdir("/proc/self/fd")) == before
