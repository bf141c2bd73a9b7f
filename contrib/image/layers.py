"""Makes the two layers of the image: deterministic, compressed tars."""

from __future__ import annotations

import gzip
import hashlib
import io
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

USER = 65532
SHARE = "doc man locale info bug lintian gdb pixmaps applications gcc initramfs-tools"
DROPPED = (
    *(f"usr/share/{name}/" for name in SHARE.split()),
    *(f"usr/lib/{machine}-linux-gnu/gconv/" for machine in ("x86_64", "aarch64")),
    *("var/lib/apt/", "var/lib/dpkg/", "var/cache/", "dev/", "etc/apt/"),
)
APPLETS = (
    *("sh", "ls", "cat", "ps", "df", "du", "env", "grep", "head", "tail", "less", "vi", "id"),
    *("top", "kill", "mount", "ip", "ping", "nslookup", "wget", "nc", "date", "hostname", "sleep"),
    *("find", "tar", "gzip", "stat", "sha256sum", "cp", "mv", "rm", "mkdir", "touch", "ln"),
    "chmod",
)
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"
    f"distserver:x:{USER}:{USER}::/var/lib/distserver:/bin/sh\n",
    "etc/group": f"root:x:0:\ndistserver:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
DIRECTORIES = {
    "var/lib/distserver": (USER, 0o755),
    "var/lib/distserver/storage": (USER, 0o755),
    "var/lib/distserver/state": (USER, 0o700),
    "etc/distserver": (0, 0o755),
    "tmp": (0, 0o1777),
}
OURS = frozenset((*(f"bin/{name}" for name in APPLETS), *FILES, *DIRECTORIES))
"""What we add; podman refuses a layer that has a path twice."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A compressed layer.

    path     its file
    digest   SHA-256 of the file, hexadecimal
    diff_id  SHA-256 of the tar in it
    """

    path: Path
    digest: str
    diff_id: str


def base_layer(root: Path, path: Path, epoch: int) -> Layer:
    """Make the layer of Debian's files from a tar of them, with users and directories of ours."""
    with _layer(path, epoch) as add, tarfile.open(root) as source:
        for member in sorted(source, key=lambda m: m.name):
            member.name = member.name.removeprefix("./")
            if not (member.isdev() or _dropped(member.name)):
                add(member, source.extractfile(member) if member.isreg() else None)
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname, link.mode = tarfile.SYMTYPE, "/bin/busybox", 0o777
            add(link, None)
        for name, text in FILES.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text), 0o644
            add(info, io.BytesIO(text.encode()))
        for name, (owner, mode) in DIRECTORIES.items():
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, owner, owner
            add(info, None)
    return _hashed(path)


def app_layer(directory: Path, path: Path, epoch: int) -> Layer:
    """Make the layer of Python packages, at /opt/distserver."""
    with _layer(path, epoch) as add:
        for file in (directory, *sorted(directory.rglob("*"))):
            info = tarfile.TarInfo(str(Path("opt/distserver") / file.relative_to(directory)))
            if file.is_dir():
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                add(info, None)
            else:
                info.size, info.mode = file.stat().st_size, 0o644 | file.stat().st_mode & 0o111
                with file.open("rb") as content:
                    add(info, content)
    return _hashed(path)


Add = Callable[[tarfile.TarInfo, IO[bytes] | None], None]


@contextmanager
def _layer(path: Path, epoch: int) -> Iterator[Add]:
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", 9, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):

        def add(info: tarfile.TarInfo, content: IO[bytes] | None) -> None:
            info.mtime, info.uname, info.gname, info.pax_headers = epoch, "", "", {}
            info.mode &= ~(stat.S_ISUID | stat.S_ISGID)  # nothing here becomes another user
            tar.addfile(info, content)

        yield add


def _dropped(name: str) -> bool:
    if name in ("", ".") or name in OURS:
        return True
    return name.startswith(DROPPED) and not name.endswith("/copyright")


def _hashed(path: Path) -> Layer:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with gzip.open(path) as file:
        return Layer(path, digest, hashlib.file_digest(file, "sha256").hexdigest())
