"""A blob on its way: a directory of this node's state that grows until the blob is published.

    data      the bytes so far, in order from 0
    journal   SHA-256 of each 8 MiB of data, written after these are on the disk
    size      bytes of the whole blob, as the upstream said
    lock      flocked by the one process that fetches; the kernel frees it when that dies

Any number of processes of a node read while one writes. What a dead writer left is hashed again,
and cut behind the last piece that fits the journal: a torn page is fetched again, nothing else.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from distserver.registry.content import Hashes

PIECE_BYTES = 8 << 20
READ_BYTES = 1 << 20


class Partial:
    """One partial blob, seen by anybody. Cheap to make; touches nothing by itself."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def data(self) -> Path:
        """File of the bytes so far."""
        return self.directory / "data"

    def available(self) -> int:
        """Bytes that can be read now; 0 where nothing is. Raises: OSError."""
        try:
            return self.data.stat().st_size
        except FileNotFoundError:
            return 0

    def size(self) -> int | None:
        """Bytes of the whole blob; None until the upstream has said it. Raises: OSError."""
        try:
            text = (self.directory / "size").read_text()
        except FileNotFoundError:
            return None
        return int(text) if text.isascii() and text.isdigit() else None

    def try_lock(self) -> Lock | None:
        """Become its writer; None while another process, or thread, is. Raises: OSError."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The last writer may have removed the directory between our open and our lock.
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return Lock(self, descriptor)
        except (BlockingIOError, FileNotFoundError):
            os.close(descriptor)
            return None
        os.close(descriptor)
        return None


class Lock:
    """The right to write a partial; held until `with` is left, or the process ends."""

    def __init__(self, partial: Partial, descriptor: int) -> None:
        self.partial = partial
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._descriptor)

    def set_size(self, size: int | None) -> None:
        """Tell readers how large the whole is; None = not known any more. Raises: OSError."""
        if size is None:
            (self.partial.directory / "size").unlink(missing_ok=True)
            return
        new = self.partial.directory / "size.new"
        new.write_text(str(size))
        new.replace(self.partial.directory / "size")

    def remove(self) -> None:
        """Forget the partial, its lock last. Raises: OSError."""
        for name in ("data", "journal", "size", "size.new", "lock"):
            (self.partial.directory / name).unlink(missing_ok=True)
        shutil.rmtree(self.partial.directory, ignore_errors=True)

    def writer(self, algorithm: str) -> PartialWriter:
        """Open the partial for appending behind what is good of it. Raises: OSError."""
        return PartialWriter(self.partial.directory, algorithm)


class PartialWriter:
    """Appends to data, keeps the hash of it all, and the journal up to date.

    hashes  of everything from byte 0 on, what was there before included
    """

    def __init__(self, directory: Path, algorithm: str) -> None:
        self.hashes = Hashes(algorithm)
        self._piece = hashlib.sha256()
        self._data = _open(directory / "data")
        self._journal = _open(directory / "journal")
        try:
            self._recover()
        except BaseException:
            self.close()
            raise

    def append(self, data: bytes) -> None:
        """Add bytes; a reader sees them at once. Raises: OSError."""
        view = memoryview(data)
        while view:
            room = PIECE_BYTES - self.hashes.size % PIECE_BYTES
            part, view = view[:room], view[room:]
            self._data.write(part)
            self._take(bytes(part))
            if len(part) == room:
                self._note_piece()

    def truncate(self) -> None:
        """Start again from byte 0. Raises: OSError."""
        for file in (self._data, self._journal):
            file.seek(0)
            file.truncate()
        self.hashes, self._piece = Hashes(self.hashes.algorithm), hashlib.sha256()

    def sync(self) -> None:
        """Bring data to the disk. Raises: OSError."""
        os.fsync(self._data.fileno())

    def close(self) -> None:
        """Close the files; what is there stays for the next writer."""
        self._data.close()
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _take(self, data: bytes) -> None:
        self.hashes.update(data)
        self._piece.update(data)

    def _note_piece(self) -> None:
        self.sync()
        self._journal.write(self._piece.digest())
        os.fsync(self._journal.fileno())
        self._piece = hashlib.sha256()

    def _recover(self) -> None:
        """Hash what is there, piece by piece, and cut both files behind the last good one."""
        known = self._journal.read()
        count = 0
        while (count + 1) * 32 <= len(known):
            piece = _read(self._data, PIECE_BYTES)
            if hashlib.sha256(piece).digest() != known[count * 32 : count * 32 + 32]:
                break
            self.hashes.update(piece)
            count += 1
        self._data.seek(count * PIECE_BYTES)
        self._data.truncate()
        self._journal.seek(count * 32)
        self._journal.truncate()


def _open(path: Path) -> BinaryIO:
    """Open for reading and writing from the start, unbuffered, made if it is not there."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", 0)


def _read(file: BinaryIO, size: int) -> bytes:
    found = b""
    while len(found) < size and (more := file.read(min(READ_BYTES, size - len(found)))):
        found += more
    return found
