"""A tar archive read once, forwards, within bounds; nothing is ever written under a member's name.

Python's tarfile reads extended headers of any size into memory and takes negative sizes, so only
its parser of one header is used.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from distserver.bundle.errors import BundleError, shown
from distserver.bundle.loading.streams import PIECE_BYTES, Stream

BLOCK = 512
MAX_EXTENSION_BYTES = 64 << 10
"""Longest extended header: names, and what else somebody wants to say of a member."""
MAX_NAME = 1024
MAX_MEMBERS = 500_000
_EXTENSIONS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE)
_IGNORED = (tarfile.XGLTYPE, tarfile.DIRTYPE)


@dataclass
class Member:
    """A file or a link in an archive.

    name    without "./", never absolute or with ".."
    size    bytes
    target  name in the archive that a link means; "" = a file
    """

    name: str
    size: int
    target: str = ""
    _stream: Stream | None = field(default=None, repr=False)
    _left: int = 0

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes, once, before the next member is asked for. Raises: BundleError."""
        while self._left and self._stream:
            data = self._stream.read(min(self._left, PIECE_BYTES))
            if not data:
                raise BundleError(f"the archive ends within {shown(self.name)}")
            self._left -= len(data)
            yield data

    def finish(self, stream: Stream) -> None:
        """Go on to behind the member, with what fills its last block."""
        stream.skip(self._left + -self.size % BLOCK)
        self._left = 0


def read_tar(stream: Stream) -> Iterator[Member]:
    """Yield the files and links of an archive, in its order.

    Raises: BundleError for what is cut short, is no tar, or is no archive of images: devices,
    sparse files, names that lead out of it; OSError.
    Memory: one header.
    """
    for _ in range(MAX_MEMBERS):
        header, extended = _header(stream)
        if header is None:
            return
        member = _member(header, extended, stream)
        if member is None:
            stream.skip(_padded(header.size))
            continue
        yield member
        member.finish(stream)
    raise BundleError(f"it has more than {MAX_MEMBERS} members")


def is_tar(block: bytes) -> bool:
    """Whether a file that begins with this block is a tar archive."""
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def render_header(name: str, size: int) -> bytes:
    """Return the header of a file, the same for the same name and size."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def safe_name(name: str) -> str:
    """Return a name without "./" and "//". Raises: BundleError if it leads out of the archive."""
    steps = [step for step in name.split("/") if step not in ("", ".")]
    if name.startswith("/") or ".." in steps or len(name) > MAX_NAME:
        raise BundleError(f"it has a member of a forbidden name, {shown(name)}")
    return "/".join(steps)


def _padded(size: int) -> int:
    return size + -size % BLOCK


def _header(stream: Stream) -> tuple[tarfile.TarInfo | None, dict[str, str]]:
    """Return the next header, and what extended headers before it say; None at the end."""
    extended: dict[str, str] = {}
    for _ in range(8):
        block = _exactly(stream, BLOCK)
        if not block.strip(b"\0"):
            return None, {}
        header = _parse(block)
        if header.type not in _EXTENSIONS:
            return header, extended
        extended |= _extension(header, stream)
    raise BundleError("it has too many extended headers in a row")


def _parse(block: bytes) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as exc:
        raise BundleError(f"it is damaged, or no tar archive ({exc})") from exc
    if header.size < 0:
        raise BundleError("a member has a negative size")
    return header


def _extension(header: tarfile.TarInfo, stream: Stream) -> dict[str, str]:
    if header.size > MAX_EXTENSION_BYTES:
        raise BundleError(f"an extended header has {header.size} bytes")
    data = _exactly(stream, _padded(header.size))[: header.size]
    if header.type == tarfile.XHDTYPE:
        return _pax(data)
    key = "path" if header.type == tarfile.GNUTYPE_LONGNAME else "linkpath"
    return {key: data.rstrip(b"\0").decode("utf-8", "surrogateescape")}


def _pax(data: bytes) -> dict[str, str]:
    """Read records `<length> <key>=<value>\\n`. Spec: POSIX pax, "Extended Header"."""
    found = {}
    while data:
        digits, space, _ = data[:20].partition(b" ")
        length = int(digits) if digits.isdigit() and space else 0
        record = data[len(digits) + 1 : length - 1]
        key, equals, value = record.decode("utf-8", "surrogateescape").partition("=")
        if not equals or data[length - 1 : length] != b"\n":
            raise BundleError("an extended header is damaged")
        found[key] = value
        data = data[length:]
    return found


def _member(header: tarfile.TarInfo, extended: dict[str, str], stream: Stream) -> Member | None:
    """Return a file or a link; None for a directory and for what speaks of all members."""
    name = extended.get("path", header.name)
    if header.type in _IGNORED:
        return None
    if any(key.startswith("GNU.sparse") for key in extended):
        raise BundleError(f"it has a sparse file, {shown(name)}")
    if header.isreg() and header.type != tarfile.GNUTYPE_SPARSE:
        size = _size(extended, header.size)
        return Member(safe_name(name), size, "", stream, size)
    if header.issym() or header.islnk():
        target = extended.get("linkpath", header.linkname)
        return Member(safe_name(name), 0, _target(name, target, header.issym()), stream)
    raise BundleError(f"it has a device, a pipe or a sparse file, {shown(name)}")


def _size(extended: dict[str, str], size: int) -> int:
    text = extended.get("size", str(size))
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BundleError("a member has no proper size")
    return int(text)


def _target(name: str, target: str, symbolic: bool) -> str:
    """Return the name in the archive that a link means; "" leads nowhere."""
    steps = name.split("/")[:-1] if symbolic and not target.startswith("/") else []
    for step in target.split("/"):
        if step == ".." and steps:
            steps.pop()
        elif step == "..":
            raise BundleError(f"{shown(name)} is a link that leads out of the archive")
        elif step not in ("", "."):
            steps.append(step)
    if target.startswith("/") or not steps:
        raise BundleError(f"{shown(name)} is a link that leads out of the archive")
    return "/".join(steps)


def _exactly(stream: Stream, n: int) -> bytes:
    data = stream.read(n)
    while len(data) < n:
        more = stream.read(n - len(data))
        if not more:
            raise BundleError("the archive ends early: it is cut, or a part is missing")
        data += more
    return data
