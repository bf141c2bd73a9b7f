"""The directory of a registry:2 (docker-registry, distribution): all that it has, moved in.

repositories/<name>/_manifests/revisions/<alg>/<hex>/link    it has that manifest
repositories/<name>/_manifests/tags/<tag>/current/link       what a tag names
repositories/<name>/_layers/<alg>/<hex>/link                 it may read that blob
blobs/<alg>/<2 hex>/<hex>/data                               bytes of blobs and manifests
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from distserver.bundle.errors import BundleError
from distserver.bundle.loading.bringing import Bringer
from distserver.bundle.loading.streams import PIECE_BYTES
from distserver.oci.digests import Digest
from distserver.oci.errors import DigestInvalid, ManifestInvalid, TagInvalid
from distserver.oci.manifests import (
    MAX_MANIFEST_BYTES,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
    parse_manifest,
)
from distserver.oci.names import MAX_NAME, Tag, parse_tag

MAX_LINK_BYTES = 512
_PLACES = ("docker/registry/v2", "registry/v2", "v2", ".")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of the directory.

    revisions  digests of all its manifests
    tags       what each tag names; one whose manifest was deleted is not there
    layers     blobs that it may read
    """

    name: str
    revisions: frozenset[Digest]
    tags: dict[Tag, Digest]
    layers: frozenset[Digest]


def find_root(path: Path) -> Path | None:
    """Return where the directories repositories and blobs are; None for another directory."""
    for place in _PLACES:
        root = path / place
        ours = (root / "_store").exists()
        if not ours and (root / "repositories").is_dir() and (root / "blobs").is_dir():
            return root
    return None


class RegistryDirectory:
    """Reads a directory that find_root found. A registry may go on serving it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def repositories(self) -> Iterator[Repository]:
        """Yield all repositories that have a manifest. Raises: OSError."""
        for name in self._names(self._root / "repositories", ""):
            yield self._repository(name)

    def sizes(self) -> dict[Digest, int]:
        """Return the size of each stored blob or manifest. Raises: OSError."""
        found = {}
        for data in self._root.glob("blobs/*/*/*/data"):
            if (digest := _digest(data.parts[-4], data.parts[-2])) and data.is_file():
                found[digest] = data.stat().st_size
        return found

    def bring(self, digest: Digest, bringer: Bringer) -> None:
        """Bring one blob. Raises: BundleError (it is not there), DigestInvalid, OSError, Full."""
        path = self._data(digest)
        if not path.is_file():
            raise BundleError(f"{digest} is missing in it")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            bringer.bring(digest, size, iter(lambda: file.read(PIECE_BYTES), b""))

    def pieces(self, digest: Digest) -> Iterator[bytes]:
        """Yield the bytes of a blob that is there. Raises: OSError."""
        with self._data(digest).open("rb") as file:
            yield from iter(lambda: file.read(PIECE_BYTES), b"")

    def has(self, digest: Digest) -> bool:
        """Whether the bytes of a blob are there."""
        return self._data(digest).is_file()

    def manifest(self, digest: Digest) -> tuple[str, Manifest]:
        """Return a manifest and its type. Raises: BundleError, OSError."""
        path = self._data(digest)
        if not path.is_file():
            raise BundleError(f"the manifest {digest} is missing in it")
        with path.open("rb") as file:
            body = file.read(MAX_MANIFEST_BYTES + 1)
        if Digest.of(body, digest.algorithm) != digest:
            raise BundleError(f"the manifest {digest} is damaged in it")
        for kind in (None, OCI_INDEX, OCI_MANIFEST):
            try:
                manifest = parse_manifest(body, kind)
            except ManifestInvalid as exc:
                error = exc
            else:
                return manifest.media_type, manifest
        raise BundleError(f"{digest}: {error.message}") from error

    def _data(self, digest: Digest) -> Path:
        return self._root / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex / "data"

    def _names(self, directory: Path, name: str) -> Iterator[str]:
        """Yield the names of repositories below a directory; links are not followed."""
        for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
            if not entry.is_dir(follow_symlinks=False) or len(name) > MAX_NAME:
                continue
            if entry.name == "_manifests":
                yield name
            elif not entry.name.startswith("_"):
                below = f"{name}/{entry.name}" if name else entry.name
                yield from self._names(directory / entry.name, below)

    def _repository(self, name: str) -> Repository:
        base = self._root / "repositories" / name
        revisions = frozenset(_links(base.glob("_manifests/revisions/*/*/link")))
        tags = {}
        for link in base.glob("_manifests/tags/*/current/link"):
            tag, digest = _tag(link.parts[-3]), _read_link(link)
            if tag and digest in revisions:
                tags[tag] = digest
        return Repository(name, revisions, tags, frozenset(_links(base.glob("_layers/*/*/link"))))


def _links(links: Iterable[Path]) -> Iterator[Digest]:
    for link in links:
        digest = _digest(link.parts[-3], link.parts[-2])
        if digest and _read_link(link) == digest:
            yield digest


def _read_link(path: Path) -> Digest | None:
    """Return the digest that a link names; None if a crash left it empty."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        text = file.read(MAX_LINK_BYTES).decode("ascii", "replace").strip()
    return _digest(*text.partition(":")[::2])


def _digest(algorithm: str, digits: str) -> Digest | None:
    try:
        return Digest.parse(f"{algorithm}:{digits}")
    except DigestInvalid:
        return None


def _tag(text: str) -> Tag | None:
    try:
        return parse_tag(text)
    except TagInvalid:
        return None
