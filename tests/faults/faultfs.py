"""A mounted file system that hangs, fails or delays on command, as a network mount does.

As a command: `faultfs.py DIRECTORY MOUNTPOINT ORDERS` shows a directory at a mount point, by FUSE.
The file ORDERS holds JSON: {"hang": bool, "errno": name, "delay": seconds, "of": [operations]},
and is read before each operation.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from tests.live import wait_for

WRITING = ("create", "write", "mkdir", "rename", "link", "unlink", "rmdir", "truncate", "utimens")
EVERYTHING = (*WRITING, "getattr", "readdir", "open", "read", "fsync", "fsyncdir", "statfs")
_STATUS = ("mode", "nlink", "size", "uid", "gid", "ino", "mtime", "atime", "ctime")
_SPACE = ("bavail", "bfree", "blocks", "bsize", "favail", "ffree", "files", "frsize", "namemax")


class Mount:
    """Such a mount.

    path      where it is mounted
    behind    the directory that it shows
    """

    def __init__(self, directory: Path) -> None:
        self.path, self.behind = directory / "mount", directory / "behind"
        for path in (self.path, self.behind):
            path.mkdir(parents=True)
        self._orders = directory / "orders.json"
        self.order()
        self._process: subprocess.Popen[bytes] | None = None

    def order(self, *operations: str, **orders: Any) -> None:
        """Have it behave so from now on; nothing = well. No operations = all of them."""
        new = self._orders.with_suffix(".new")
        new.write_text(json.dumps({**orders, "of": operations or EVERYTHING}))
        new.rename(self._orders)

    def up(self) -> None:
        """Mount it."""
        command = [sys.executable, __file__, self.behind, self.path, self._orders]
        root = str(Path(__file__).parent.parent.parent)
        self._process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": root})
        wait_for(self.path.is_mount, 20, "mount")

    def crash(self) -> None:
        """Kill what serves it: each call fails, also those that hang in it."""
        if self._process:
            self._process.kill()
            self._process.wait(20)

    def down(self) -> None:
        """Crash and unmount it: the bare directory is what is there then."""
        self.crash()
        subprocess.run(["umount", "-l", self.path], capture_output=True, timeout=20)


@contextmanager
def mounted(directory: Path) -> Iterator[Mount]:
    """Lend a mount."""
    mount = Mount(directory)
    mount.up()
    try:
        yield mount
    finally:
        mount.down()


def _serve(directory: str, point: str, orders: str) -> None:  # noqa: C901  # one line a call
    import mfusepy

    class Passing(mfusepy.Operations):  # type: ignore[misc]
        use_ns = True

        def __getattribute__(self, name: str) -> Any:
            if name in EVERYTHING:
                _obey(orders, name, mfusepy.FuseOSError)
            return super().__getattribute__(name)

        def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
            status = os.lstat(directory + path)
            times = {f"st_{n}time": getattr(status, f"st_{n}time_ns") for n in "mac"}
            return {f"st_{n}": getattr(status, f"st_{n}") for n in _STATUS} | times

        def readdir(self, path: str, fh: int) -> list[str]:
            return [".", "..", *os.listdir(directory + path)]

        def statfs(self, path: str) -> dict[str, int]:
            status = os.statvfs(directory)
            return {f"f_{n}": getattr(status, f"f_{n}") for n in _SPACE}

        def mkdir(self, path: str, mode: int) -> int:
            return os.mkdir(directory + path, mode) or 0

        def rmdir(self, path: str) -> int:
            return os.rmdir(directory + path) or 0

        def unlink(self, path: str) -> int:
            return os.unlink(directory + path) or 0

        def rename(self, old: str, new: str, flags: int = 0) -> int:
            return os.rename(directory + old, directory + new) or 0

        def link(self, target: str, source: str) -> int:
            return os.link(directory + source, directory + target) or 0

        def truncate(self, path: str, length: int, fh: int | None = None) -> int:
            return os.truncate(directory + path, length) or 0

        def utimens(self, path: str, times: Any = None) -> int:
            return os.utime(directory + path, ns=times) or 0

        def open(self, path: str, flags: int) -> int:
            return os.open(directory + path, flags)

        def create(self, path: str, mode: int, fi: Any = None) -> int:
            return os.open(directory + path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            return os.pread(fh, size, offset)

        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            return os.pwrite(fh, data, offset)

        def fsync(self, path: str, datasync: int, fh: int) -> int:
            return os.fsync(fh) or 0

        def release(self, path: str, fh: int) -> int:
            return os.close(fh) or 0

    options = {"attr_timeout": 0, "entry_timeout": 0, "fsname": "faultfs", "allow_other": True}
    mfusepy.FUSE(Passing(), point, foreground=True, nothreads=False, **options)


@cache
def _read(orders: str, changed: int) -> dict[str, Any]:
    with open(orders, encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
        return found


def _obey(orders: str, name: str, error: Any) -> None:
    while True:
        now = _read(orders, os.stat(orders).st_mtime_ns)
        if name not in now["of"]:
            return
        if now.get("hang"):
            time.sleep(0.02)
            continue
        time.sleep(now.get("delay", 0))
        if "errno" in now:
            raise error(getattr(errno, now["errno"]))
        return


if __name__ == "__main__":
    _serve(*sys.argv[1:])
