"""Small file systems for fault tests, mounted for as long as a test needs them; needs root."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live import wait_for

KINDS = ("tmpfs", "ext4")
_SHUTDOWN, _WITHOUT_FLUSH = 0x8004587D, 2


@contextmanager
def small_disk(kind: str, directory: Path, size: int, inodes: int) -> Iterator[Path]:
    """A mounted file system of about size bytes and so many inodes; gone at the end."""
    point = directory / "mount"
    point.mkdir()
    if kind == "tmpfs":
        run("mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes}", "none", point)
    else:
        image = directory / "disk.ext4"
        with image.open("wb") as file:
            file.truncate(size)
        run("mkfs.ext4", "-q", "-N", str(inodes), "-m", "0", image)
        run("mount", "-o", "loop", image, point)
    try:
        yield point
    finally:
        wait_for(lambda: unmounted(point), 30, "end of the mount")


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, (command, done.stderr)


def unmounted(point: Path, *options: str) -> bool:
    """Unmount; whether it worked (not while somebody has a file open there)."""
    command = ["umount", *options, point]
    return subprocess.run(command, capture_output=True, timeout=30).returncode == 0


def cut_power(point: Path) -> None:
    """End an ext4 as a power cut does: what was not fsynced is gone; every call fails from now on.

    By its own ioctl (EXT4_IOC_SHUTDOWN), without flushing its journal.
    """
    descriptor = os.open(point, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSH))
    finally:
        os.close(descriptor)


def mount_again(point: Path) -> None:
    """Mount the image of a small disk as the machine does when its power is back."""
    wait_for(lambda: unmounted(point), 30, "end of the mount")
    run("mount", "-o", "loop", point.parent / "disk.ext4", point)


def remount(point: Path, mode: str) -> None:
    """Make it "ro" or "rw"."""
    wait_for(lambda: _remounted(point, mode), 30, f"remount {mode}")


def _remounted(point: Path, mode: str) -> bool:
    command = ["mount", "-o", f"remount,{mode}", point]
    return subprocess.run(command, capture_output=True, timeout=30).returncode == 0


def fill_bytes(directory: Path, leave: int = 0) -> Path:
    """Take all room but leave bytes by one file, which is returned; unlink it to give it back."""
    filler = directory / ".filler"
    with filler.open("wb") as file:
        for block in (1 << 16, 1 << 12, 1 << 9):
            try:
                while _free(directory) - leave > block:
                    file.write(b"\xff" * block)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:  # full: that is the aim
                continue
    return filler


def fill_inodes(directory: Path, leave: int = 0) -> Path:
    """Take all inodes but leave by empty files in one directory, which is returned."""
    filler = directory / ".fillers"
    filler.mkdir()
    while os.statvfs(directory).f_favail > leave:
        (filler / str(os.statvfs(directory).f_favail)).touch()
    return filler


def empty(filler: Path) -> None:
    """Give back what a filler took."""
    for path in filler.iterdir() if filler.is_dir() else ():
        path.unlink()
    filler.rmdir() if filler.is_dir() else filler.unlink()


def _free(directory: Path) -> int:
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize
