"""Processes whose wall clock is wrong."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.components.require import require

YEAR_SECONDS = 366 * 86_400
_SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    """Moves wall clocks; the library that does it is made in a directory."""

    def __init__(self, directory: Path) -> None:
        self._library = directory / "clock.so"
        command = [require("gcc"), "-shared", "-fPIC", "-O1", "-o", self._library, _SOURCE]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def environment(self, offset: int) -> dict[str, str]:
        """Variables that move the clock of a process by so many seconds."""
        return {"LD_PRELOAD": str(self._library), "CLOCK_OFFSET": str(offset)}


def move_times(directory: Path, offset: int) -> None:
    """Move the times of all files: as the kernel would have noted them under a wrong clock."""
    for path in directory.rglob("*"):
        status = path.lstat()
        times = (status.st_atime + offset, status.st_mtime + offset)
        os.utime(path, times, follow_symlinks=False)
