"""Verification of a whole storage: every byte hashed again, every image checked for its parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from backends import read_all
from backends.base import Proves
from backends.errors import Corrupt, NotFound
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestInvalid, ManifestUnknown
from distserver.oci.manifests import MAX_MANIFEST_BYTES, parse_manifest
from distserver.registry import layout
from distserver.registry.catalog import upload_repositories
from distserver.registry.content import MAX_CHUNK_HASH_BYTES, READ_BYTES
from distserver.registry.hashes import Hashes
from distserver.registry.local import Registry


@dataclass(frozen=True, slots=True)
class Checked:
    """One entry of content, hashed again; problem is None when it is whole.

    purged  it came back after a purge; it is not looked at, and will be erased
    """

    key: str
    digest: Digest | None
    size: int
    problem: str | None
    purged: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """One tag, or one manifest without a tag, and what is wrong with it.

    awaited  what of a pulled image has not come yet, which is no damage
    purged   what of it was purged, which is none either
    """

    name: str
    digest: Digest
    problems: tuple[str, ...]
    awaited: tuple[str, ...] = ()
    purged: tuple[str, ...] = ()


AWAITED, PURGED = "has not come from its upstream yet", "was purged here for good"


def contents(registry: Registry) -> Iterator[Checked]:
    """Hash every stored entry again. Raises: Unavailable. Blocks on: reading everything."""
    for key in registry.backend.keys(layout.BLOBS):
        digest = layout.digest_of_blob(key)
        if digest is None:
            yield Checked(key, None, 0, "the name is not a digest")
        elif registry.content.denied.has(digest):
            yield Checked(key, digest, 0, None, purged=True)
        else:
            yield _check(registry, key, digest)


def images(registry: Registry, damaged: dict[Digest, str]) -> Iterator[Image]:
    """Check that each image of each repository has all that it names.

    damaged  what contents() found
    Raises: Unavailable.
    """
    listed = set(registry.catalog.names())
    for name in sorted(listed.union(upload_repositories(registry.backend))):
        unlisted = () if name in listed else ("its repository is missing in the catalogue",)
        for image in _images_of(registry, name, damaged):
            yield replace(image, problems=image.problems + unlisted)


def _images_of(registry: Registry, name: str, damaged: dict[Digest, str]) -> Iterator[Image]:
    for tag, digest in sorted(registry.tags.waiting(name).items()):
        yield Image(f"{name}:{tag}", digest, (f"{digest}: the tag waits for it, it is not here",))
    tagged = registry.tags.all(name)
    for tag, digest in sorted(tagged.items()):
        yield _image(f"{name}:{tag}", digest, _problems(registry, name, digest, damaged))
    for digest in sorted(registry.manifests.digests(name) - set(tagged.values()), key=str):
        yield _image(f"{name}@{digest}", digest, _problems(registry, name, digest, damaged))


def _image(name: str, digest: Digest, found: Iterable[str]) -> Image:
    texts = list(found)
    problems = tuple(text for text in texts if not text.endswith((AWAITED, PURGED)))
    awaited = tuple(text for text in texts if text.endswith(AWAITED))
    return Image(
        name, digest, problems, awaited, tuple(text for text in texts if text.endswith(PURGED))
    )


def _check(registry: Registry, key: str, digest: Digest) -> Checked:
    hashes = Hashes(digest.algorithm)
    if isinstance(registry.backend, Proves):
        registry.backend.scrub(key)
    try:
        with registry.backend.open(key) as reader:
            while data := reader.read(READ_BYTES):
                hashes.update(data)
        if hashes.digest == digest:
            registry.content.proved(digest)
            problem = _check_chunks(registry, digest, hashes)
        else:
            registry.content.corrupt(digest)
            problem = f"the bytes hash to {hashes.digest}"
    except (Corrupt, NotFound) as exc:
        problem = str(exc)
    return Checked(key, digest, hashes.size, problem)


def _check_chunks(registry: Registry, digest: Digest, hashes: Hashes) -> str | None:
    if not hashes.chunks:
        return None
    try:
        stored = read_all(registry.backend, layout.chunks(digest), MAX_CHUNK_HASH_BYTES)
    except (NotFound, Corrupt):
        return None  # reads verify the whole instead
    return None if stored == hashes.chunks else "its chunk hashes are damaged"


def _problems(
    registry: Registry, name: str, digest: Digest, damaged: dict[Digest, str], depth: int = 8
) -> Iterator[str]:
    if registry.content.denied.has(digest):
        yield f"{digest}: {PURGED}"
        return
    if digest in damaged:
        yield f"{digest}: {damaged[digest]}"
        return
    try:
        stored = registry.manifests.held(name, digest)
        manifest = parse_manifest(stored.data[:MAX_MANIFEST_BYTES], stored.media_type)
    except (ManifestUnknown, ManifestInvalid, Corrupt) as exc:
        yield f"{digest}: {exc}"
        return
    awaited = AWAITED if stored.pulled else ""
    for descriptor in manifest.blobs:
        yield from _blob_problems(registry, name, descriptor.digest, damaged, awaited)
    here = [c for c in manifest.children if depth and registry.manifests.has(name, c.digest)]
    for child in here:
        yield from _problems(registry, name, child.digest, damaged, depth - 1)
    # Of a pulled index only the members come that a node asked for.
    for child in () if stored.pulled and here else manifest.children:
        if child not in here:
            yield from _blob_problems(registry, name, child.digest, damaged, awaited)


def _blob_problems(
    registry: Registry, name: str, digest: Digest, damaged: dict[Digest, str], awaited: str
) -> Iterator[str]:
    if registry.content.denied.has(digest):
        yield f"{digest}: {PURGED}"
    elif digest in damaged:
        yield f"{digest}: {damaged[digest]}"
    elif not registry.blobs.has(name, digest):
        yield f"{digest}: {awaited or 'not here'}"
