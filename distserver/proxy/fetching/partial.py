"""A blob on its way: a directory of this node's state that grows until the blob is published.

    data      the bytes so far, in order from 0; read-only once their digest is proved
    journal   what of them is on the disk: see PartialWriter
    size      bytes of the whole blob, as the upstream said
    proved    it is whole and has its digest, but the storage did not take it; its chunk hashes
    failed    why the last fetch of it ended, until bytes come again
    lock      flocked by the one process that fetches; the kernel frees it when that dies. Holds the
              monotonic time of its last progress

Any number of processes of a node read while one writes. Data that begins anew lies in a new file,
and the old one becomes empty: a reader of the old one sees that its bytes are not continued.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import struct
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Self

from distserver.proxy.fetching.writer import PartialWriter
from distserver.proxy.replace import replace
from distserver.proxy.upstream.breaker import boot_id

log = logging.getLogger(__name__)

LAST_REMOVED = ("data", "lock")
"""`proved` without data would be offered for ever; without a lock, another fetch begins."""

BEAT_SECONDS = 1.0
_TIME = struct.Struct("d")


@dataclass(frozen=True, slots=True)
class Failure:
    """How a fetch ended: why, whether it stood still, and when in the monotonic time of a boot."""

    reason: str
    stalled: bool
    when: float
    boot: str


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
        """How long ago a byte came, or a fetch was begun; 0 where none was. Raises: OSError."""
        try:
            beat = (self.directory / "lock").read_bytes()
        except FileNotFoundError:
            return 0.0
        return time.monotonic() - _TIME.unpack(beat)[0] if len(beat) == _TIME.size else 0.0

    def failure(self, within_seconds: float) -> Failure | None:
        """How the last fetch ended, if that was so lately; None otherwise. Raises: OSError."""
        try:
            failure = Failure(**json.loads((self.directory / "failed").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        lately = 0 <= time.monotonic() - failure.when < within_seconds
        return failure if lately and failure.boot == boot_id() else None

    def open(self) -> BinaryIO | None:
        """Open the bytes so far for reading; None where there are none. Raises: OSError."""
        try:
            return self.data.open("rb", buffering=0)
        except FileNotFoundError:
            return None

    def is_locked(self) -> bool:
        """Whether somebody fetches it now. Raises: OSError."""
        try:
            with (self.directory / "lock").open("rb") as file:
                # Shared: who wants to fetch in this moment finds it locked, and tries again.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def try_lock(self) -> Lock | None:
        """Become its writer; None while another process, or thread, is. Raises: OSError."""
        path = self.directory / "lock"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except (FileNotFoundError, FileExistsError):
            return None  # the last writer removes the directory just now
        with ExitStack() as undo:
            undo.callback(os.close, descriptor)
            if not _is_ours(descriptor, path):
                return None
            lock = Lock(self, descriptor)
            undo.pop_all()
            return lock


def _is_ours(descriptor: int, path: Path) -> bool:
    """Lock a file if nobody has, and it still has its name. Raises: OSError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The last writer may have removed it between our open and our lock.
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False


class Lock:
    """The right to write a partial; held until `with` is left, or the process ends."""

    def __init__(self, partial: Partial, descriptor: int) -> None:
        self.partial = partial
        self._descriptor = descriptor
        self._beaten = 0.0
        self.progress()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another one write, who goes on with what is there."""
        os.close(self._descriptor)

    def set_size(self, size: int) -> None:
        """Tell readers how large the whole is. Raises: OSError."""
        replace(self.partial.directory / "size", str(size).encode())

    def forget_size(self) -> None:
        """The size is not known any more. Raises: OSError."""
        (self.partial.directory / "size").unlink(missing_ok=True)

    def progress(self) -> None:
        """Tell that a byte came; costs next to nothing but once a second. Raises: OSError."""
        now = time.monotonic()
        if now < self._beaten + BEAT_SECONDS:
            return
        os.pwrite(self._descriptor, _TIME.pack(now), 0)
        if self._beaten:  # at the first time nothing has come yet
            (self.partial.directory / "failed").unlink(missing_ok=True)
        self._beaten = now

    def set_failed(self, reason: str, stalled: bool) -> None:
        """Tell how the fetch ended. Raises: OSError."""
        failure = Failure(reason, stalled, time.monotonic(), boot_id())
        replace(self.partial.directory / "failed", json.dumps(asdict(failure)).encode())

    def set_proved(self, chunks: bytes) -> None:
        """Tell readers that the whole is proved, and was offered to the storage now.

            chunks  its Hashes.chunks
        Raises: OSError.
        """
        replace(self.partial.directory / "proved", chunks)

    def proved_chunks(self) -> bytes:
        """Return what set_proved was told. Raises: OSError."""
        return (self.partial.directory / "proved").read_bytes()

    def remove(self) -> None:
        """Forget the partial, its lock last. Raises: OSError."""
        directory = self.partial.directory
        for path in directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name not in LAST_REMOVED:
                path.unlink(missing_ok=True)
        for name in LAST_REMOVED:
            (directory / name).unlink(missing_ok=True)
        try:
            directory.rmdir()
        except OSError as exc:  # another fetch began in it
            log.debug("%s stays: %s", directory, exc)

    def writer(self, algorithm: str) -> PartialWriter:
        """Open the partial for appending behind what is good of it. Raises: OSError."""
        return PartialWriter(self.partial.directory, algorithm)
