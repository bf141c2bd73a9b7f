"""The partial on the disk: one writer, what it finds after a crash, what its readers see."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from distserver.proxy.fetching import writer
from distserver.proxy.fetching.following import Following
from distserver.proxy.fetching.partial import Lock, Partial
from distserver.proxy.fetching.writer import Note
from distserver.proxy.upstream.errors import UpstreamLied
from tests.live import wait_for
from tests.proxy.link import DATA

MIB = 1 << 20
SIZE = (64 << 10) + 100


@pytest.fixture(autouse=True)
def _note_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "NOTE_SECONDS", -1.0)


def write(partial: Partial, *pieces: bytes) -> None:
    lock = partial.try_lock()
    assert lock
    with lock:
        write_with(lock, *pieces)


def write_with(lock: Lock, *pieces: bytes) -> None:
    with lock.writer("sha256") as writer:
        for piece in pieces:
            writer.append(piece)


def found(partial: Partial) -> tuple[int, bool]:
    """Bytes that the next writer finds good, and whether its hash is that of what is there."""
    lock = partial.try_lock()
    assert lock
    with lock, lock.writer("sha256") as writer:
        content = partial.data.read_bytes()
        again = type(writer.hashes)("sha256")
        again.update(content)
        return len(content), again.digest == writer.hashes.digest


def another_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "boot_id", lambda: "another-boot")


def test_after_a_crash_of_the_process_everything_is_good(tmp_path: Path) -> None:
    partial = Partial(tmp_path / "p")
    write(partial, DATA[:MIB])
    with partial.data.open("ab") as file:
        file.write(DATA[MIB : 2 * MIB])  # written, and killed before the journal knew
    assert found(partial) == (2 * MIB, True)


def test_after_a_crash_of_the_machine_only_what_the_journal_proves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = Partial(tmp_path / "p")
    write(partial, DATA[:MIB], DATA[MIB : 2 * MIB])
    with partial.data.open("ab") as file:
        file.write(bytes(MIB))  # a page that was never written
    another_boot(monkeypatch)
    assert found(partial) == (2 * MIB, True)


@pytest.mark.parametrize(("at", "good"), [(2 * MIB + 7, 2), (7, 0), (3 * MIB - 1, 2)])
def test_torn_bytes_are_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, good: int
) -> None:
    partial = Partial(tmp_path / "p")
    write(partial, DATA[:MIB], DATA[MIB : 2 * MIB], DATA[2 * MIB : 3 * MIB])
    with partial.data.open("r+b") as file:
        file.seek(at)
        file.write(b"\0\0\0\0" if DATA[at] else b"\1")
    another_boot(monkeypatch)
    assert found(partial) == (good * MIB, True)


@pytest.mark.parametrize("journal", [b"", b"\xff\0", b"12 boot", b"5 boot zz\n9 boot\n"])
def test_a_journal_that_cannot_be_read_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: bytes
) -> None:
    partial = Partial(tmp_path / "p")
    write(partial, DATA[:MIB])
    (partial.directory / "journal").write_bytes(journal)
    another_boot(monkeypatch)
    assert found(partial) == (0, True)


def test_data_that_lost_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = Partial(tmp_path / "p")
    write(partial, DATA[:MIB], DATA[MIB : 2 * MIB])
    os.truncate(partial.data, MIB + 5)
    another_boot(monkeypatch)
    assert found(partial) == (MIB, True)


def test_a_note_reads_as_it_was_written() -> None:
    note = Note(5, "b", "0" * 64)
    assert Note.parse(str(note).rstrip("\n")) == note
    assert Note.parse("x b " + "0" * 64) is None


def test_a_reader_follows_and_waits_for_the_end(tmp_path: Path) -> None:
    partial, follower = Partial(tmp_path / "p"), Following(tmp_path / "p")
    assert follower.read(0, 10, SIZE) == b""
    lock = partial.try_lock()
    assert lock
    with lock, lock.writer("sha256") as writer:
        writer.append(DATA[:SIZE])
        assert follower.read(0, 1000, SIZE) == DATA[:100]
        assert follower.read(100, 1000, SIZE) == b""
        lock.set_proved(b"")
        assert follower.read(100, 1000, SIZE) == DATA[100:1100]
    follower.close()


def test_a_reader_of_bytes_that_proved_wrong_is_told(tmp_path: Path) -> None:
    """Its file is empty now; the new one does not continue what it has read."""
    partial, follower, fresh = Partial(tmp_path / "p"), Following(tmp_path / "p"), None
    lock = partial.try_lock()
    assert lock
    with lock, lock.writer("sha256") as writer:
        writer.append(b"wrong" * 100)
        assert follower.read(0, 10, MIB) == b"wrongwrong"
        fresh = Following(tmp_path / "p")
        writer.restart()
        writer.append(DATA[:1000])
        with pytest.raises(UpstreamLied):
            follower.read(10, 10, MIB)
        assert fresh.read(0, 10, MIB) == DATA[:10]
    follower.close()
    fresh.close()


def test_a_reader_of_bytes_that_a_crash_tore_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It read them before the next writer found that they are no good."""
    partial, follower = Partial(tmp_path / "p"), Following(tmp_path / "p")
    write(partial, DATA[:MIB])
    with partial.data.open("ab") as file:
        file.write(bytes(MIB))
    assert follower.read(MIB, 10, 9 * MIB) == bytes(10)
    another_boot(monkeypatch)
    assert found(partial) == (MIB, True)
    with pytest.raises(UpstreamLied):
        follower.read(MIB + 10, 10, 9 * MIB)
    follower.close()


def test_data_is_read_only_once_it_is_proved_and_can_be_gone_on_with(tmp_path: Path) -> None:
    """Its writer may have died before it was published."""
    partial, follower = Partial(tmp_path / "p"), Following(tmp_path / "p")
    lock = partial.try_lock()
    assert lock
    with lock, lock.writer("sha256") as data:
        data.append(DATA[:MIB])
        follower.read(0, 10, MIB)
        assert not follower.proved
        data.seal()
        assert follower.proved
    assert partial.data.stat().st_mode & 0o777 == 0o400
    write(partial, b"more")
    assert not follower.proved
    assert partial.available() == MIB + 4
    follower.close()


def test_a_reader_keeps_what_was_published_meanwhile(tmp_path: Path) -> None:
    partial, follower = Partial(tmp_path / "p"), Following(tmp_path / "p")
    lock = partial.try_lock()
    assert lock
    with lock, lock.writer("sha256") as writer:
        writer.append(DATA[:1000])
        assert follower.read(0, 10, MIB) == DATA[:10]
        lock.remove()
    assert follower.read(10, 10, MIB) == DATA[10:20]
    follower.close()


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    partial = Partial(tmp_path / "p")
    lock = partial.try_lock()
    assert lock
    with lock:
        assert partial.try_lock() is None
    again = partial.try_lock()
    assert again
    with again:
        again.remove()
        assert not partial.directory.exists()
    assert partial.available() == 0
    assert partial.size() is None


@pytest.mark.parametrize("at", ["unlink", "rmdir"])
def test_who_begins_while_the_last_one_removes_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """Whoever gets the lock keeps the files that he makes, at whatever moment he got it."""
    partial, second = Partial(tmp_path / "p"), list[Lock]()

    def after(path: Path, *options: object, **more: object) -> None:
        if at == "unlink":
            step(path, *options, **more)
        if not second and (found := partial.try_lock()):
            second.append(found)
            write_with(found, DATA[:MIB])
        if at == "rmdir":
            step(path, *options, **more)

    write(partial, b"abc")
    lock, step = partial.try_lock(), getattr(Path, at)
    assert lock
    (partial.directory / "beside").mkdir()
    with monkeypatch.context() as patch, lock:
        patch.setattr(Path, at, after)
        lock.remove()
    (begun,) = second
    with begun:
        assert partial.data.read_bytes() == DATA[:MIB]
        assert partial.try_lock() is None


def test_what_a_removal_left_is_nothing_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any of its steps: the bytes stay as long as anything says that they are proved."""
    steps = 0

    def killed(path: Path, **_: object) -> None:
        nonlocal steps
        steps -= 1
        if steps < 0:
            raise KeyboardInterrupt
        os.unlink(path)

    for count in range(7):
        partial = Partial(tmp_path / str(count))
        write(partial, DATA[:MIB])
        lock = partial.try_lock()
        assert lock
        with lock, monkeypatch.context() as patch:
            lock.set_size(MIB)
            lock.set_proved(b"")
            lock.set_failed("", False)
            steps = count
            patch.setattr(Path, "unlink", killed)
            with contextlib.suppress(KeyboardInterrupt):
                lock.remove()
        assert partial.available() or partial.proved_seconds_ago() is None
    assert steps == 0


def test_a_lock_on_a_removed_directory_is_none(tmp_path: Path) -> None:
    partial = Partial(tmp_path / "p")
    lock = partial.try_lock()
    assert lock
    with lock:
        waiting = os.open(partial.directory / "lock", os.O_RDWR)
        lock.remove()
    os.close(waiting)
    fresh = partial.try_lock()
    assert fresh
    with fresh:
        assert (partial.directory / "lock").exists()


def test_a_disk_that_takes_no_byte_of_the_lock_leaves_it_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    partial = Partial(tmp_path / "p")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space"):
            partial.try_lock()
    lock = partial.try_lock()
    assert lock
    lock.close()


HOLDER = """
import sys, time
from pathlib import Path
from distserver.proxy.fetching.partial import Lock, Partial
lock = Partial(Path(sys.argv[1])).try_lock()
print("held", flush=True)
time.sleep(600)
"""


def test_a_killed_writer_frees_the_lock(tmp_path: Path) -> None:
    partial = Partial(tmp_path / "p")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(partial.directory)], stdout=subprocess.PIPE
    )
    assert holder.stdout
    with holder.stdout:
        assert holder.stdout.readline() == b"held\n"
        assert partial.try_lock() is None
        holder.kill()
        holder.wait(10)
    lock = wait_for(partial.try_lock, 5, "lock")
    with lock:
        assert partial.try_lock() is None
