"""Good bytes for what is damaged or missing here, out of whatever holds a copy of them.

Nothing becomes visible by this that was not before: only content that images here need is taken,
and only under the digest that its bytes prove.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from backends import Backend, open_backend
from backends.base import Reader
from backends.errors import Corrupt, NotFound
from distserver.bundle.errors import BundleError
from distserver.bundle.loading import dockerarchive
from distserver.bundle.loading.archive import DOCKER, Archive, Survey, blob_digest
from distserver.bundle.loading.load import sources
from distserver.bundle.loading.registrydir import RegistryDirectory, find_root
from distserver.bundle.loading.streams import PIECE_BYTES
from distserver.oci.digests import Digest, new_hash
from distserver.oci.errors import DigestInvalid
from distserver.registry import Registry, layout, verify
from distserver.registry.scrub import Mender

log = logging.getLogger(__name__)


@dataclass
class Gap:
    """Content that is damaged or missing here.

    size     bytes; None = not known
    awaited  of a pulled image, and has not come yet: no damage
    images   those that need it
    """

    size: int | None = None
    awaited: bool = False
    images: list[str] = field(default_factory=list)


def find_gaps(registry: Registry) -> dict[Digest, Gap]:
    """Return what is known to be damaged, and what images need and is not here.

    Raises: Unavailable. Blocks on: a look at each image.
    """
    damaged = dict.fromkeys(registry.content.damaged(), "damaged")
    gaps: dict[Digest, Gap] = {}
    for image in verify.images(registry, damaged):
        for problem in (*image.problems, *image.awaited):
            if problem.digest:
                gap = gaps.setdefault(problem.digest, Gap(problem.size, problem.awaited))
                gap.size, gap.awaited = gap.size or problem.size, gap.awaited and problem.awaited
                gap.images.append(image.name)
    for need in Mender(registry).needs(damaged.keys() - gaps.keys()):
        gaps[need.digest] = Gap(images=list(need.names))
    return gaps


def take_from(path: Path, registry: Registry, gaps: Mapping[Digest, Gap]) -> Iterator[Digest]:
    """Fill gaps from what is at a path; yield each digest that is whole here afterwards.

    Of several archives, one that is damaged hinders no other.
    Raises: BundleError (no archive is there), OSError, Full, Unavailable.
    Blocks on: reading all of it, twice.
    """
    needed = [need.digest for need in Mender(registry).needs(gaps)]
    taker = _Taker(registry, {digest: gaps[digest].size for digest in needed})
    if (path / "_store").exists():
        yield from taker.take_each(partial(_of_storage, open_backend(str(path.absolute()))))
        return
    for source in sources(path):
        try:
            if root := find_root(source) if source.is_dir() else None:
                yield from taker.take_each(partial(_of_registry, RegistryDirectory(root)))
            else:
                yield from taker.take_members(Archive(source))
        except BundleError as exc:
            log.warning("%s: %s", source, exc)


class _Taker:
    """Puts good bytes into the storage.

    wanted  size by digest of what is still to be filled; None = not known
    """

    def __init__(self, registry: Registry, wanted: dict[Digest, int | None]) -> None:
        self._content, self._wanted = registry.content, wanted

    def take_each(self, find: Callable[[Digest], Iterator[bytes] | None]) -> Iterator[Digest]:
        """Take what lies under its digest in a directory."""
        for digest in list(self._wanted):
            if pieces := find(digest):
                yield from self._take(digest, pieces)

    def take_members(self, archive: Archive) -> Iterator[Digest]:
        """Take what an archive has, whatever it is called there."""
        if not self._wanted:
            return
        survey = archive.survey()
        digests = self._digests(archive, survey)
        with archive.members() as members:
            for member in members:
                if not member.target and (digest := digests.get(member.name)):
                    yield from self._take(digest, member.pieces())
        if DOCKER in survey.sizes and not survey.blobs:
            for manifest in dockerarchive.manifests(archive, survey, digests):
                yield from self._take(Digest.of(manifest), [manifest])

    def _take(self, digest: Digest, pieces: Iterable[bytes]) -> Iterator[Digest]:
        """Yield the digest if it was wanted and the bytes are right."""
        if digest not in self._wanted:
            return
        try:
            self._content.put(digest, pieces)
        except (DigestInvalid, Corrupt) as exc:
            log.warning("the copy of %s there is damaged, too: %s", digest, exc)
        else:
            del self._wanted[digest]
            yield digest

    def _digests(self, archive: Archive, survey: Survey) -> dict[str, Digest]:
        """Digests of files, by name: as the name says, or of the bytes of those that may be wanted.

        A docker-archive calls its layers anything.
        """
        named = {name: digest for name in survey.sizes if (digest := blob_digest(name))}
        if named:
            return named
        sizes = set(self._wanted.values())
        with archive.members() as members:
            for member in members:
                if not member.target and (None in sizes or member.size in sizes):
                    named[member.name] = _hashed(member.pieces())
        return named


def _hashed(pieces: Iterable[bytes]) -> Digest:
    hasher = new_hash("sha256")
    for data in pieces:
        hasher.update(data)
    return Digest("sha256", hasher.hexdigest())


def _of_storage(backend: Backend, digest: Digest) -> Iterator[bytes] | None:
    """What another storage has under a digest."""
    try:
        reader = backend.open(layout.blob(digest))
    except (NotFound, Corrupt):
        return None
    return _read(reader)


def _read(reader: Reader) -> Iterator[bytes]:
    with reader:
        yield from iter(lambda: reader.read(PIECE_BYTES), b"")


def _of_registry(directory: RegistryDirectory, digest: Digest) -> Iterator[bytes] | None:
    return directory.pieces(digest) if directory.has(digest) else None
