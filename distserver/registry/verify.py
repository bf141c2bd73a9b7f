"""Verification of a whole storage: every byte hashed again, every image checked for its parts."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from backends import read_all
from backends.base import Proves, Reader
from backends.errors import Corrupt, NotFound, Unavailable
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestInvalid, ManifestUnknown
from distserver.oci.manifests import MAX_MANIFEST_BYTES, Descriptor, parse_manifest
from distserver.registry import layout
from distserver.registry.catalog import upload_repositories
from distserver.registry.content import MAX_CHUNK_HASH_BYTES, READ_BYTES
from distserver.registry.hashes import Hashes
from distserver.registry.local import Registry

AWAITED, PURGED = "has not come from its upstream yet", "was purged here for good"
UNLISTED = "its repository is missing in the catalogue"
CHUNKS_DAMAGED = "its chunk hashes are damaged"


Passing = Callable[[int], None]
"""Told of each piece that was read, in bytes; may take its time."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One entry of content, hashed again; problem is None when it is whole.

    chunks  what its chunk hashes have to be, where those that are stored are not
    purged  it came back after a purge; it is not looked at, and will be erased
    """

    key: str
    digest: Digest | None
    size: int
    problem: str | None
    chunks: bytes = b""
    purged: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with an image.

    digest   of what is damaged or missing; None = it is no content
    size     bytes that it must have; None = not known
    awaited  it belongs to a pulled image and has not come yet, which is no damage
    purged   it was purged for good, which is none either
    """

    digest: Digest | None
    text: str
    size: int | None = None
    awaited: bool = False
    purged: bool = False

    def __str__(self) -> str:
        return f"{self.digest}: {self.text}" if self.digest else self.text


@dataclass(frozen=True, slots=True)
class Image:
    """One tag, or one manifest without a tag, and what is wrong with it.

    awaited  what of a pulled image has not come yet, which is no damage
    """

    name: str
    digest: Digest
    problems: tuple[Problem, ...]
    awaited: tuple[Problem, ...] = ()
    purged: tuple[Problem, ...] = ()


def contents(
    registry: Registry, after: str = "", passing: Passing = lambda _: None
) -> Iterator[Checked]:
    """Hash every stored entry again, in the order of keys.

        after  key of the last entry that need not be looked at
    Raises: Unavailable. Blocks on: reading everything.
    """
    for key in registry.backend.keys(layout.BLOBS, after):
        digest = layout.digest_of_blob(key)
        if digest is None:
            yield Checked(key, None, 0, "the name is not a digest")
        elif registry.content.denied.has(digest):
            yield Checked(key, digest, 0, None, purged=True)
        elif checked := _check(registry, key, digest, passing):
            yield checked


def is_good(registry: Registry, digest: Digest, passing: Passing = lambda _: None) -> bool:
    """Whether an intact copy is stored; one of a set is mended from others if it can be.

    Raises: Unavailable. Blocks on: reading all of it.
    """
    try:
        return _hashes(registry, layout.blob(digest), digest, passing).digest == digest
    except (Corrupt, NotFound):
        return False
    except Unavailable as exc:
        if not _is_unreadable(exc):
            raise
        return False


def repositories(registry: Registry) -> list[str]:
    """Return the names of all repositories, also those that the catalogue lacks, sorted.

    Raises: Unavailable.
    """
    listed = registry.catalog.names()
    return sorted({*listed, *upload_repositories(registry.backend)})


def images(registry: Registry, damaged: dict[Digest, str]) -> Iterator[Image]:
    """Check that each image of each repository has all that it names.

    damaged  what contents() found
    Raises: Unavailable.
    """
    for name in repositories(registry):
        yield from images_of(registry, name, damaged)


def images_of(registry: Registry, name: str, damaged: dict[Digest, str]) -> Iterator[Image]:
    """As images, of one repository."""
    unlisted = () if registry.catalog.knows(name) else (Problem(None, UNLISTED),)
    for image in _images_of(registry, name, damaged):
        yield replace(image, problems=image.problems + unlisted)


def _images_of(registry: Registry, name: str, damaged: dict[Digest, str]) -> Iterator[Image]:
    for tag, digest in sorted(registry.tags.waiting(name).items()):
        problem = Problem(digest, "the tag waits for it, it is not here")
        yield Image(f"{name}:{tag}", digest, (problem,))
    tagged = registry.tags.all(name)
    for tag, digest in sorted(tagged.items()):
        yield _image(f"{name}:{tag}", digest, _problems(registry, name, digest, damaged))
    for digest in sorted(registry.manifests.digests(name) - set(tagged.values()), key=str):
        yield _image(f"{name}@{digest}", digest, _problems(registry, name, digest, damaged))


def _image(name: str, digest: Digest, found: Iterable[Problem]) -> Image:
    each = list(dict.fromkeys(found))
    return Image(
        name,
        digest,
        tuple(problem for problem in each if not problem.awaited and not problem.purged),
        tuple(problem for problem in each if problem.awaited),
        tuple(problem for problem in each if problem.purged),
    )


def _check(registry: Registry, key: str, digest: Digest, passing: Passing) -> Checked | None:
    """Hash an entry; None if it was taken away meanwhile: who needs it is told by images()."""
    try:
        hashes = _hashes(registry, key, digest, passing)
    except NotFound:
        return None
    except (Corrupt, Unavailable) as exc:
        unreadable = Checked(key, digest, 0, f"cannot be read: {exc}")
        if isinstance(exc.__cause__, PermissionError):
            return unreadable  # and the others can be: one such file must not end a scrub
        if isinstance(exc, Unavailable) and not _is_unreadable(exc):
            raise
        registry.content.corrupt(digest)
        return unreadable
    if hashes.digest != digest:
        registry.content.corrupt(digest)
        return Checked(key, digest, hashes.size, f"the bytes hash to {hashes.digest}")
    registry.content.proved(digest)
    return _check_chunks(registry, key, digest, hashes)


def _hashes(registry: Registry, key: str, digest: Digest, passing: Passing) -> Hashes:
    """Read all of an entry. Raises: NotFound, Corrupt, Unavailable."""
    hashes = Hashes(digest.algorithm)
    if isinstance(registry.backend, Proves):
        registry.backend.scrub(key)
    with registry.backend.open(key) as reader:
        _forget_cached(reader)
        while data := reader.read(READ_BYTES):
            hashes.update(data)
            passing(len(data))
    return hashes


def _forget_cached(reader: Reader) -> None:
    """Let the bytes come from the disk: what the kernel has in memory says nothing of it."""
    if fileno := getattr(reader, "fileno", None):
        os.posix_fadvise(fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _is_unreadable(error: Unavailable) -> bool:
    """Whether a disk answered that it has lost these bytes: no trying again brings them."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EIO


def _check_chunks(registry: Registry, key: str, digest: Digest, hashes: Hashes) -> Checked:
    good = Checked(key, digest, hashes.size, None)
    if not hashes.chunks:
        return good
    try:
        stored = read_all(registry.backend, layout.chunks(digest), MAX_CHUNK_HASH_BYTES)
    except (NotFound, Corrupt):
        return replace(good, chunks=hashes.chunks)  # reads verify the whole instead
    if stored == hashes.chunks:
        return good
    return replace(good, problem=CHUNKS_DAMAGED, chunks=hashes.chunks)


def _problems(
    registry: Registry, name: str, digest: Digest, damaged: dict[Digest, str], depth: int = 8
) -> Iterator[Problem]:
    if registry.content.denied.has(digest):
        yield Problem(digest, PURGED, purged=True)
        return
    if digest in damaged:
        yield Problem(digest, damaged[digest])
        return
    try:
        stored = registry.manifests.held(name, digest)
        manifest = parse_manifest(stored.data[:MAX_MANIFEST_BYTES], stored.media_type)
    except (ManifestUnknown, ManifestInvalid, Corrupt) as exc:
        yield Problem(digest, str(exc))
        return
    for descriptor in manifest.blobs:
        yield from _blob_problems(registry, name, descriptor, damaged, stored.pulled)
    here = [c for c in manifest.children if depth and registry.manifests.has(name, c.digest)]
    for child in here:
        yield from _problems(registry, name, child.digest, damaged, depth - 1)
    # Of a pulled index only the members come that a node asked for.
    for child in () if stored.pulled and here else manifest.children:
        if child not in here:
            yield from _blob_problems(registry, name, child, damaged, stored.pulled)


def _blob_problems(
    registry: Registry,
    name: str,
    descriptor: Descriptor,
    damaged: dict[Digest, str],
    pulled: bool,
) -> Iterator[Problem]:
    digest, size = descriptor.digest, descriptor.size
    if registry.content.denied.has(digest):
        yield Problem(digest, PURGED, purged=True)
    elif digest in damaged:
        yield Problem(digest, damaged[digest], size)
    elif not registry.blobs.has(name, digest):
        yield Problem(digest, AWAITED if pulled else "not here", size, awaited=pulled)
