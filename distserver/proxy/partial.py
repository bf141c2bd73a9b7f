"""A blob on its way: a directory of this node's state that grows until the blob is published.

    data      the bytes so far, in order from 0
    journal   what of them is on the disk: see PartialWriter
    size      bytes of the whole blob, as the upstream said
    proved    it is whole and has its digest, but the storage did not take it; its chunk hashes
    failed    why the last fetch of it ended, until bytes come again
    lock      flocked by the one process that fetches; the kernel frees it when that dies

Any number of processes of a node read while one writes. Data that begins anew lies in a new file,
and the old one becomes empty: a reader of the old one sees that its bytes are not continued.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path
from typing import BinaryIO, Self

from distserver.proxy.partial_writer import PartialWriter

FILES = (
    *("failed", "proved.new", "proved", "data", "journal.new", "journal", "size.new", "size"),
    "lock",
)


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

    def proved_seconds_ago(self) -> float | None:
        """How long ago the whole was proved, or last offered to the storage; None if it is not.

        Raises: OSError.
        """
        try:
            return time.time() - (self.directory / "proved").stat().st_mtime
        except FileNotFoundError:
            return None

    def idle_seconds(self) -> float:
        """How long ago a byte came, or a fetch was begun. Raises: OSError."""
        times = [_modified(self.data), _modified(self.directory / "lock")]
        return time.time() - max(times)

    def failure(self, within_seconds: float) -> str | None:
        """Why the last fetch ended, if that was so lately; None otherwise. Raises: OSError."""
        path = self.directory / "failed"
        if not 0 <= time.time() - _modified(path) < within_seconds:
            return None
        try:
            return path.read_text()
        except FileNotFoundError:
            return None

    def open(self) -> BinaryIO | None:
        """Open the bytes so far for reading; None where there are none. Raises: OSError."""
        try:
            return self.data.open("rb", buffering=0)
        except FileNotFoundError:
            return None

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
        os.utime(descriptor)  # see idle_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._descriptor)

    def set_size(self, size: int) -> None:
        """Tell readers how large the whole is. Raises: OSError."""
        new = self.partial.directory / "size.new"
        new.write_text(str(size))
        new.replace(self.partial.directory / "size")

    def forget_size(self) -> None:
        """The size is not known any more. Raises: OSError."""
        (self.partial.directory / "size").unlink(missing_ok=True)

    def set_failed(self, reason: str) -> None:
        """Tell why the fetch ended. Raises: OSError."""
        (self.partial.directory / "failed").write_text(reason)

    def forget_failure(self) -> None:
        """Bytes come again. Raises: OSError."""
        (self.partial.directory / "failed").unlink(missing_ok=True)

    def set_proved(self, chunks: bytes) -> None:
        """Tell readers that the whole is proved, and was offered to the storage now.

            chunks  its Hashes.chunks
        Raises: OSError.
        """
        new = self.partial.directory / "proved.new"
        new.write_bytes(chunks)
        new.replace(self.partial.directory / "proved")

    def proved_chunks(self) -> bytes:
        """Return what set_proved was told. Raises: OSError."""
        return (self.partial.directory / "proved").read_bytes()

    def remove(self) -> None:
        """Forget the partial, its lock last. Raises: OSError."""
        for name in FILES:
            (self.partial.directory / name).unlink(missing_ok=True)
        shutil.rmtree(self.partial.directory, ignore_errors=True)

    def writer(self, algorithm: str) -> PartialWriter:
        """Open the partial for appending behind what is good of it. Raises: OSError."""
        return PartialWriter(self.partial.directory, algorithm)


def _modified(path: Path) -> float:
    """Time of a file; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
