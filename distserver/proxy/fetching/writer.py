"""Appends to a partial blob, and finds what is good of it after a crash.

Every two seconds the journal gets a line: how many bytes are on the disk, the boot, and their hash.
After a crash of the process the file is as it was written, for the kernel lives on: all of it is
good. After a crash of the machine only what the journal proves is; the rest is fetched again.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from distserver.proxy.replace import replace
from distserver.proxy.upstream.breaker import boot_id
from distserver.registry.hashes import Hashes

log = logging.getLogger(__name__)

READ_BYTES = 1 << 20
NOTE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Note:
    """A line of the journal: the first `end` bytes were on the disk and had this hash."""

    end: int
    boot: str
    hex: str

    @classmethod
    def parse(cls, line: str) -> Note | None:
        """Read a line; None for one that is torn."""
        end, _, rest = line.partition(" ")
        boot, _, digits = rest.partition(" ")
        whole = end.isascii() and end.isdigit() and len(end) < 19 and len(digits) >= 64
        return cls(int(end), boot, digits) if whole else None

    def __str__(self) -> str:
        return f"{self.end} {self.boot} {self.hex}\n"


class PartialWriter:
    """Appends to data, keeps the hash of it all, and the journal up to date.

    hashes  of everything from byte 0 on, what was there before included
    """

    def __init__(self, directory: Path, algorithm: str) -> None:
        self.hashes = Hashes(algorithm)
        self._directory, self._boot = directory, boot_id() or "-"
        self._data = _open_data(directory / "data")
        self._journal = _open(directory / "journal")
        try:
            self._recover()
        except BaseException:
            self.close()
            raise

    def append(self, data: bytes) -> None:
        """Add bytes; a reader sees them at once. Raises: OSError."""
        _write(self._data, data)
        self.hashes.update(data)
        if time.monotonic() > self._noted + NOTE_SECONDS:
            self._append_note()

    def restart(self) -> None:
        """Begin again at byte 0, in a new file. Raises: OSError."""
        self._data.truncate(0)
        self._data.close()
        (self._directory / "data").unlink(missing_ok=True)
        self._data = _open(self._directory / "data")
        self.hashes = Hashes(self.hashes.algorithm)
        self._begin_journal()

    def sync(self) -> None:
        """Bring data to the disk. Raises: OSError."""
        os.fsync(self._data.fileno())

    def seal(self) -> None:
        """Bring data, whose digest was proved, to the disk, and tell who has it open.

        Raises: OSError.
        """
        self.sync()
        try:
            os.fchmod(self._data.fileno(), stat.S_IRUSR)
        except OSError as exc:  # a file system without modes: readers prove it for themselves
            log.debug("data cannot be made read-only: %s", exc)

    def close(self) -> None:
        """Close the files; what is there stays for the next writer."""
        self._data.close()
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _recover(self) -> None:
        """Hash what is there and is good, and cut off the rest."""
        lines = self._journal.read().decode("ascii", "replace").splitlines()
        notes = [note for note in map(Note.parse, lines) if note]
        if notes and notes[-1].boot == self._boot:
            while data := self._data.read(READ_BYTES):
                self.hashes.update(data)
        else:
            self._take_proved(notes)
            self._data.truncate(self.hashes.size)
        self._data.seek(self.hashes.size)
        self._begin_journal()

    def _take_proved(self, notes: list[Note]) -> None:
        """Hash up to the last note that still holds."""
        found = self.hashes.copy()
        for note in notes:
            while found.size < note.end:
                data = self._data.read(min(READ_BYTES, note.end - found.size))
                if not data:
                    return
                found.update(data)
            if found.digest.hex != note.hex:
                return
            self.hashes = found.copy()

    def _begin_journal(self) -> None:
        """Replace the journal by one line, without a moment in which there is none."""
        replace(self._directory / "journal", self._note(), fsync=True)
        self._journal.close()
        self._journal = _open(self._directory / "journal")
        self._journal.seek(0, os.SEEK_END)

    def _append_note(self) -> None:
        _write(self._journal, self._note())
        os.fsync(self._journal.fileno())

    def _note(self) -> bytes:
        """Bring data to the disk; return the journal's line about it. Raises: OSError."""
        self.sync()
        self._noted = time.monotonic()
        return str(Note(self.hashes.size, self._boot, self.hashes.digest.hex)).encode()


def is_sealed(descriptor: int) -> bool:
    """Whether open data was proved: read-only, wherever it lies now. Raises: OSError."""
    return not os.fstat(descriptor).st_mode & stat.S_IWUSR


def _open_data(path: Path) -> BinaryIO:
    """Open data for writing; where it was proved and never published, it may change again."""
    if path.exists() and not path.stat().st_mode & stat.S_IWUSR:
        path.chmod(0o600)
    return _open(path)


def _open(path: Path) -> BinaryIO:
    """Open for reading and writing from the start, unbuffered, made if it is not there."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", 0)


def _write(file: BinaryIO, data: bytes) -> None:
    """Write all of it: an unbuffered file may take less at once."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
