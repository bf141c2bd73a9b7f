"""What is particular to files: errno by errno, hard links, directories that vanish, forks."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from backends import Filesystem, put, read_all
from backends.errors import Full, NotFound, StorageError, Unavailable
from tests.backends.fake_os import FakeOs
from tests.forked import exit_code, fork

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
    child = fork(lambda: put(files, "child", files.open("before").read()))
    put(files, "parent", b"y")
    assert exit_code(child) == 0
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


@pytest.mark.parametrize("local", [True, False])
def test_elsewhere_a_long_write_is_synced_on_the_way(
    files: Filesystem, fake: FakeOs, monkeypatch: pytest.MonkeyPatch, local: bool
) -> None:
    """So that a commit has little to sync, and a deadline; a local disk needs none."""
    monkeypatch.setattr("backends.mounts.is_local", lambda fd: local)
    monkeypatch.setattr("backends.files.SYNC_EVERY_BYTES", 1000)
    with files.create() as writer:
        for _ in range(10):
            writer.write(b"x" * 400)
        assert len(fake.of("fdatasync")) == (0 if local else 3)
        writer.commit("entry")
    assert files.is_local() is local
