"""Files of archives as streams that only go forward: plain, gzip, zstd; whole or in parts.

What a file is is told by its first bytes, not by its name.
"""

from __future__ import annotations

import re
import stat
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from distserver.bundle.errors import BundleError

PIECE_BYTES = 1 << 20
"""Most bytes that are read at once."""
MAX_WINDOW_BYTES = 128 << 20
"""Memory that a zstd archive may ask for: what `zstd` itself grants."""
_FIRST_PART = re.compile(r"(?P<stem>.+)\.001")
_GZIP = b"\x1f\x8b"
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")  # a frame, or one to be skipped
_OTHER = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"PK\x03\x04": "zip"}


class Stream(Protocol):
    """Bytes that are read once, from the beginning to the end."""

    def read(self, n: int) -> bytes:
        """Return up to n bytes, b"" only at the end. Raises: BundleError, OSError."""

    def skip(self, n: int) -> None:
        """Go n bytes on; a stream that ends before may say so at the next read only."""


@contextmanager
def open_stream(path: Path) -> Iterator[Stream]:
    """Open an archive, unpacking what is packed; FILE.001 stands for all its parts.

    Raises: BundleError (packed in a way that we do not read), OSError.
    Memory: 1 MiB, and up to MAX_WINDOW_BYTES for zstd.
    """
    with Files(parts(path)) as files:
        magic = files.peek(8)
        for start, name in _OTHER.items():
            if magic.startswith(start):
                raise BundleError(f"it is packed with {name}: unpack it first")
        if magic.startswith(_GZIP):
            yield Gunzip(files.read)
        elif _ZSTD.match(magic):
            yield _Zstd(files)
        else:
            yield files


def parts(path: Path) -> list[Path]:
    """Return the files that a path stands for: FILE.001, FILE.002 … as far as they go.

    FILE that is not there stands for FILE.001 if that is.
    """
    first = path.with_name(path.name + ".001")
    if not path.exists() and first.exists():
        path = first
    match = _FIRST_PART.fullmatch(path.name)
    if not match:
        return [path]
    found = [path]
    while (following := part(path.with_name(match["stem"]), len(found) + 1)).exists():
        found.append(following)
    return found


def part(path: Path, number: int) -> Path:
    """Return the name of a part; the first has number 1."""
    return path.with_name(f"{path.name}.{number:03d}")


class Files:
    """Files one after the other, as one stream."""

    def __init__(self, paths: Sequence[Path]) -> None:
        if not all(stat.S_ISREG(path.stat().st_mode) for path in paths):  # a pipe might never end
            raise BundleError("it is no regular file: archives are read more than once")
        self._paths = list(paths)
        self._file: IO[bytes] = self._paths[0].open("rb")
        self._left = self._paths[0].stat().st_size
        self._next = 1

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def peek(self, n: int) -> bytes:
        """Return the first bytes, at the beginning only."""
        data = self._file.read(n)
        self._file.seek(0)
        return data

    def read(self, n: int = PIECE_BYTES) -> bytes:
        """See Stream.read."""
        while not (data := self._file.read(min(n, PIECE_BYTES))) and self._turn():
            pass
        self._left -= len(data)
        return data

    def skip(self, n: int) -> None:
        """See Stream.skip."""
        while n > self._left:
            n -= self._left
            if not self._turn():
                break
        self._file.seek(min(n, self._left), 1)
        self._left -= min(n, self._left)

    def _turn(self) -> bool:
        """Go to the next file, if there is one."""
        if self._next == len(self._paths):
            self._file.seek(0, 2)
            self._left = 0
            return False
        path = self._paths[self._next]
        self._file.close()
        self._file, self._left = path.open("rb"), path.stat().st_size
        self._next += 1
        return True


class _Unpacked(ABC):
    """What both kinds of packing share: going on is reading."""

    @abstractmethod
    def read(self, n: int) -> bytes:
        """See Stream.read."""

    def skip(self, n: int) -> None:
        """See Stream.skip."""
        while n > 0 and (data := self.read(min(n, PIECE_BYTES))):
            n -= len(data)


class Gunzip(_Unpacked):
    """What a gzip file has in it.

    read  gives its bytes
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._source = read
        self._packed = b""
        self._unpacker = zlib.decompressobj(wbits=31)

    def read(self, n: int) -> bytes:
        """See Stream.read."""
        while data := self._packed or self._source(PIECE_BYTES):
            if self._unpacker.eof:  # another file is appended, or only zeros to fill a block
                self._unpacker = zlib.decompressobj(wbits=31)
                data = data.lstrip(b"\0")
            try:
                found = self._unpacker.decompress(data, n)
            except zlib.error as exc:
                raise BundleError(f"the gzip data is damaged ({exc})") from exc
            self._packed = self._unpacker.unconsumed_tail or self._unpacker.unused_data
            if found:
                return found
        return b""  # also when it is cut: what is in it has a size of its own, and a digest


class _Zstd(_Unpacked):
    def __init__(self, files: Files) -> None:
        import zstandard  # here: a server never needs it

        self._error = zstandard.ZstdError
        unpacker = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
        self._reader = unpacker.stream_reader(files, read_across_frames=True)  # type: ignore[arg-type]

    def read(self, n: int) -> bytes:
        try:
            data: bytes = self._reader.read(n)
        except self._error as exc:
            raise BundleError(f"the zstd data is damaged ({exc})") from exc
        return data
