"""Readers and writers of single files below a root."""

from __future__ import annotations

import errno
import os
from typing import Self

from backends import temporaries
from backends.durable import Mark, place, settle
from backends.errors import Corrupt, StorageError, Unavailable
from backends.failures import unavailable, write_failure
from backends.keys import parent, validate_key
from backends.room import CHECK_EVERY_BYTES, SMALL_ENTRY_BYTES, Room
from backends.root import Root, close_quietly

_READ_BYTES = 1024 * 1024
SYNC_EVERY_BYTES = 16 * 1024 * 1024
"""On a network file system: what commit has to sync at most, so that it has a deadline there."""


class FileReader:
    """A Reader over a range of an open file; owns the descriptor."""

    def __init__(self, fd: int, size: int, start: int, stop: int) -> None:
        self.size = size
        self._fd = fd
        self._remaining = stop - start
        if start:
            _seek(fd, start)

    def fileno(self) -> int:
        """Return the descriptor, positioned at the range's start while nothing was read."""
        return self._fd

    def read(self, n: int = -1) -> bytes:
        """See Reader.read."""
        if n >= 0:
            return self._read(n)
        return b"".join(iter(lambda: self._read(_READ_BYTES), b""))

    def _read(self, n: int) -> bytes:
        wanted = min(n, self._remaining)
        if wanted == 0:
            return b""
        try:
            data = os.read(self._fd, wanted)
        except OSError as exc:
            raise unavailable(exc, "reading an entry") from exc
        if not data:
            raise Corrupt(f"an entry of {self.size} bytes ends {self._remaining} bytes early")
        self._remaining -= len(data)
        return data

    def close(self) -> None:
        """See Reader.close."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            close_quietly(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class FileWriter:
    """A Writer into tmp/. Any failure ends it: what it held is garbage and is removed."""

    def __init__(self, root: Root, room: Room) -> None:
        self._root = root
        self._room = room
        self._held = root.held()
        self._temporary = temporaries.new_name()
        self._fd = -1
        self._size = 0
        self._check_at = SMALL_ENTRY_BYTES
        self._sync_at = SYNC_EVERY_BYTES
        try:
            self._fd = temporaries.create(self._held, self._temporary)
        except OSError as exc:
            raise write_failure(exc, "creating a temporary file") from exc

    def write(self, data: bytes | memoryview) -> None:
        """See Writer.write."""
        self._require_open()
        try:
            if self._size + len(data) > self._check_at:
                self._room.require()
                self._check_at = self._size + len(data) + CHECK_EVERY_BYTES
            self._size += _write_all(self._fd, data)
            self._sync_some()
        except OSError as exc:
            self.abort()
            raise write_failure(exc, "writing a temporary file") from exc
        except StorageError:
            self.abort()
            raise

    def commit(self, key: str) -> None:
        """See Writer.commit."""
        try:
            self._require_open()
            validate_key(key)
            held = self._root.still(self._held)
            mark = self._seal()
            place(held, self._temporary, key, mark, held.fd)
            self._temporary = ""
            settle(held, parent(key))
        except OSError as exc:
            raise write_failure(exc, key) from exc
        finally:
            self.abort()

    def abort(self) -> None:
        """See Writer.abort."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            close_quietly(fd)
        temporary, self._temporary = self._temporary, ""
        if temporary:
            temporaries.discard(self._held, temporary)

    def _sync_some(self) -> None:
        if not self._held.local and self._size >= self._sync_at:
            os.fdatasync(self._fd)
            self._sync_at = self._size + SYNC_EVERY_BYTES

    def _require_open(self) -> None:
        if self._fd < 0:
            raise Unavailable("this writer is finished")

    def _seal(self) -> Mark:
        """Sync and close the file: some file systems report a full disk only here."""
        os.fsync(self._fd)
        status = os.fstat(self._fd)
        if status.st_size != self._size:
            raise Unavailable(f"wrote {self._size} bytes, the file has {status.st_size}")
        fd, self._fd = self._fd, -1
        os.close(fd)
        return status.st_dev, status.st_ino

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()


def _write_all(fd: int, data: bytes | memoryview) -> int:
    size = len(data)
    done = os.write(fd, data)
    while done < size:
        count = os.write(fd, memoryview(data)[done:])
        if count == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        done += count
    return size


def _seek(fd: int, start: int) -> None:
    try:
        os.lseek(fd, start, os.SEEK_SET)
    except OSError as exc:
        raise unavailable(exc, "seeking in an entry") from exc
