"""An archive of images: its files in any order, as often as they are asked for.

It is gone through several times, forwards: what it has, then the few small files that say what
they are, then the bytes themselves. So a packed archive needs no room to be unpacked into, and
nothing is written before the whole of it was seen.
"""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from distserver.bundle.errors import BundleError, shown
from distserver.bundle.loading.streams import Files, open_stream
from distserver.bundle.loading.tar import BLOCK, Member, is_tar, read_tar
from distserver.oci.digests import Digest
from distserver.oci.errors import DigestInvalid
from distserver.oci.manifests import MAX_MANIFEST_BYTES

INDEX, DOCKER = "index.json", "manifest.json"
"""What an OCI layout and a docker-archive say of themselves."""
MAX_LINKS = 8
MAX_READ_BYTES = 256 << 20
"""Most bytes of what an archive says of its images: configurations of docker's."""


@dataclass(frozen=True)
class Survey:
    """What an archive has.

    sizes    bytes of each file by name
    targets  what each link means
    """

    sizes: Mapping[str, int]
    targets: Mapping[str, str]

    def resolve(self, name: str) -> str:
        """Return the name of the file that a name means, links followed. Raises: BundleError."""
        for _ in range(MAX_LINKS):
            if name not in self.targets:
                break
            name = self.targets[name]
        if name not in self.sizes:
            raise BundleError(f"{shown(name)} is missing in it")
        return name

    @property
    def blobs(self) -> dict[Digest, int]:
        """Sizes of what lies under its digest, as in an OCI layout."""
        named = ((blob_digest(name), size) for name, size in self.sizes.items())
        return {digest: size for digest, size in named if digest}


class Archive:
    """A tar archive, packed or not, in parts or not; or the directory of an OCI layout."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def members(self) -> Iterator[Iterator[Member]]:
        """Lend all members, once. Raises: BundleError, OSError."""
        if self.path.is_dir():
            yield _layout_members(self.path)
            return
        with open_stream(self.path) as stream:
            yield read_tar(stream)

    def survey(self) -> Survey:
        """Return what it has. Raises: BundleError (hostile, cut short), OSError.

        Blocks on: reading all of it, if it is packed.
        """
        sizes: dict[str, int] = {}
        targets: dict[str, str] = {}
        with self.members() as members:
            for member in members:
                # Of a name that comes twice, two readers may take different ones; not of a digest.
                if (member.name in sizes or member.name in targets) and not blob_digest(
                    member.name
                ):
                    raise BundleError(f"{shown(member.name)} is twice in it")
                if member.target:
                    targets[member.name] = member.target
                else:
                    sizes[member.name] = member.size
        return Survey(sizes, targets)

    def read(self, names: Collection[str]) -> dict[str, bytes]:
        """Return whole small files, by name. Raises: BundleError (too large), OSError."""
        found: dict[str, bytes] = {}
        total = 0
        if not names:
            return found
        with self.members() as members:
            for member in members:
                if member.name not in names or member.target:
                    continue
                total += member.size
                if member.size > MAX_MANIFEST_BYTES or total > MAX_READ_BYTES:
                    raise BundleError(f"{shown(member.name)} is too large: {member.size} bytes")
                found[member.name] = b"".join(member.pieces())
                if len(found) == len(names):
                    return found
        raise BundleError("it has changed while it was read")


def is_archive(path: Path) -> bool:
    """Whether a file may be an archive of images: a tar, or something packed."""
    try:
        with open_stream(path) as stream:
            return is_tar(stream.read(BLOCK))
    except (BundleError, OSError):
        return True  # damaged, or packed in a way we do not read: who loads it is told


def blob_digest(name: str) -> Digest | None:
    """Return the digest under which a file lies in an OCI layout; None for other files."""
    top, _, rest = name.partition("/")
    algorithm, _, digits = rest.partition("/")
    try:
        return Digest.parse(f"{algorithm}:{digits}") if top == "blobs" else None
    except DigestInvalid:
        return None


def blob_name(digest: Digest) -> str:
    """Return the name under which content lies in an OCI layout."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _layout_members(root: Path) -> Iterator[Member]:
    """Yield the files of an OCI layout. Only regular files: a pipe would never end."""
    for path in (root / INDEX, *sorted(root.glob("blobs/*/*"))):
        if stat.S_ISREG((status := path.lstat()).st_mode):
            with Files([path]) as file:
                name, size = path.relative_to(root).as_posix(), status.st_size
                yield Member(name, size, "", file, size)
