"""A file that is written whole or not at all, in parts where a medium takes no large files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import IO, Self

from distserver.bundle.errors import BundleError
from distserver.bundle.loading.streams import part

MAX_PARTS = 999
UNFINISHED = ".unfinished"


class PartWriter:
    """Writes FILE, or FILE.001, FILE.002 …; nothing has its name before finish.

    limit  bytes of a part; 0 = one file
    """

    def __init__(self, path: Path, limit: int = 0) -> None:
        self._path, self._limit = path, limit
        self._names: list[Path] = []
        self._file: IO[bytes] | None = None
        self._room = 0

    def require_room(self, size: int) -> None:
        """Refuse what cannot be written whole, before a byte is. Raises: BundleError, OSError."""
        for name in (self._path, part(self._path, 1)):
            if name.exists():
                raise BundleError(f"{name} is there already: remove it, or choose another name")
        if self._limit and size > self._limit * MAX_PARTS:
            raise BundleError(f"it would be more than {MAX_PARTS} parts: choose a larger --split")
        free = shutil.disk_usage(self._path.parent).free
        if free < size:
            raise BundleError(
                f"{self._path}: {-(-size >> 20)} MiB are to be written, {free >> 20} MiB are free"
            )

    def write(self, data: bytes) -> None:
        """Append. Raises: OSError."""
        while data:
            if not self._room:
                self._turn()
            taken, data = data[: self._room], data[self._room :]
            self._file.write(taken)  # type: ignore[union-attr]
            self._room -= len(taken)

    def finish(self) -> list[Path]:
        """Give what was written its names, durably; return them. Raises: OSError."""
        self._close()
        for name in self._names:
            _unfinished(name).rename(name)
        sync_directory(self._path.parent)
        names, self._names = self._names, []
        return names

    def _turn(self) -> None:
        self._close()
        name = part(self._path, len(self._names) + 1) if self._limit else self._path
        self._names.append(name)
        self._file = _unfinished(name).open("wb")
        self._room = self._limit or 1 << 62

    def _close(self) -> None:
        if self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file:
            self._file.close()
        for name in self._names:
            _unfinished(name).unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Let the names of a directory survive loss of power. Raises: OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _unfinished(name: Path) -> Path:
    return name.with_name(name.name + UNFINISHED)
