"""Loads archives, layouts and directories of registries: one result an image, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from backends.errors import StorageError
from distserver.bundle.errors import BundleError
from distserver.bundle.images import Image
from distserver.bundle.loading import dockerarchive, layout
from distserver.bundle.loading.archive import DOCKER, INDEX, Archive, Survey, is_archive
from distserver.bundle.loading.bringing import Bringer
from distserver.bundle.loading.publishing import MAX_DEPTH, Publisher, Target
from distserver.bundle.loading.registrydir import RegistryDirectory, Repository, find_root
from distserver.bundle.naming import Naming
from distserver.oci.digests import Digest
from distserver.oci.errors import RegistryError
from distserver.oci.manifests import DOCKER_MANIFEST
from distserver.registry import Registry

FAILURES = (BundleError, RegistryError, StorageError, OSError)
_SUFFIXES = (".tar", ".tgz", ".gz", ".zst", ".001")
_PASSED_OVER = (".lock",)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an image, or of a whole archive.

    source  the archive
    name    of the image here; "" = none of the archive was loaded
    error   why it was not loaded; "" = it was
    image   None = it was not loaded
    """

    source: Path
    name: str = ""
    digest: Digest | None = None
    error: str = ""
    image: Image | None = None


def sources(path: Path) -> list[Path]:
    """Return the archives that a path stands for. Raises: BundleError if there is none; OSError."""
    if not path.is_dir() or (path / INDEX).exists() or find_root(path):
        return [path]
    if (path / "_store").exists():
        raise BundleError("this is a storage of distserver: serve it, or save from it")
    found = [entry for entry in sorted(path.iterdir()) if _is_source(entry)]
    if not found:
        raise BundleError("no archive of images is in this directory")
    return found


def _is_source(path: Path) -> bool:
    if path.name.startswith(".") or path.suffix in _PASSED_OVER:
        return False
    if path.is_dir():
        return (path / INDEX).exists() or find_root(path) is not None
    if path.suffix[1:].isdigit() and len(path.suffix) == 4:
        return path.suffix == ".001"
    return path.suffix in _SUFFIXES or (path.is_file() and is_archive(path))


class Loader:
    """Puts what archives have into a registry."""

    def __init__(self, registry: Registry, naming: Naming, bringer: Bringer) -> None:
        self._registry, self._naming, self._bringer = registry, naming, bringer

    def load(self, path: Path) -> Iterator[Result]:
        """Load one archive; yield what became of its images. Raises nothing that hinders others.

        Blocks on: reading the archive up to three times, writing what is not held.
        """
        try:
            root = find_root(path) if path.is_dir() else None
            if root:
                yield from self._load_registry(path, RegistryDirectory(root))
            else:
                yield from self._load_archive(Archive(path))
        except FAILURES as exc:
            yield Result(path, error=in_words(exc))

    def _load_archive(self, archive: Archive) -> Iterator[Result]:
        survey = archive.survey()
        index = archive.read({INDEX} & survey.sizes.keys()).get(INDEX)
        entries = layout.read_entries(index) if index else []
        named = self._naming.renames or any(entry.full for entry in entries)
        if entries and (named or DOCKER not in survey.sizes):
            targets = layout.place(entries, self._naming)
            layout.bring(archive, survey, entries, self._bringer)
        elif DOCKER in survey.sizes:
            targets = self._bring_docker(archive, survey)
        else:
            raise BundleError(f"no archive of images: neither {INDEX} nor {DOCKER} lists one")
        brought = {target.digest for target in targets} | survey.blobs.keys()
        refused = Publisher(self._registry, self._naming, brought).publish(targets)
        yield from (_done(archive.path, target, refused) for target in targets)

    def _bring_docker(self, archive: Archive, survey: Survey) -> list[Target]:
        images = dockerarchive.read_images(archive.read({DOCKER})[DOCKER])
        # Where they go comes first: a name that is missing is told before anything is written.
        places = [dockerarchive.place(each, self._naming, len(images) == 1) for each in images]
        digests = dockerarchive.bring(archive, survey, images, self._registry, self._bringer)
        return [
            Target(image, digest, DOCKER_MANIFEST)
            for digest, place in zip(digests, places, strict=True)
            for image in place
        ]

    def _load_registry(self, path: Path, directory: RegistryDirectory) -> Iterator[Result]:
        self._bringer.require_room(directory.sizes())
        repositories = list(directory.repositories())
        if not repositories:
            raise BundleError("no image is in this registry")
        if len({self._naming.repository(each.name) for each in repositories}) < len(repositories):
            raise BundleError("it has several repositories: --as takes a PREFIX/ for them")
        for repository in repositories:
            name = self._naming.repository(repository.name)
            for digest in sorted(repository.revisions, key=str):
                tags = [tag for tag, named in repository.tags.items() if named == digest]
                images = [Image(name, tag) for tag in sorted(tags)] or [Image(name, None, digest)]
                yield from self._load_revision(path, directory, repository, digest, images)
            yield from self._load_layers(path, name, directory, repository)

    def _load_revision(
        self,
        path: Path,
        directory: RegistryDirectory,
        repository: Repository,
        digest: Digest,
        images: list[Image],
    ) -> Iterator[Result]:
        try:
            media_type = self._bring_revision(directory, repository, digest)
            targets = [Target(image, digest, media_type) for image in images]
            publisher = Publisher(self._registry, self._naming, repository.revisions)
            refused = publisher.publish(targets)
            yield from (_done(path, target, refused) for target in targets)
        except FAILURES as exc:
            yield from (Result(path, str(image), digest, in_words(exc)) for image in images)

    def _bring_revision(
        self,
        directory: RegistryDirectory,
        repository: Repository,
        digest: Digest,
        depth: int = MAX_DEPTH,
    ) -> str:
        """Bring a manifest and all that it names; return its type. Raises: BundleError, OSError."""
        if not depth:
            raise BundleError(f"indexes are nested more than {MAX_DEPTH} deep")
        media_type, manifest = directory.manifest(digest)
        for part in manifest.blobs:
            directory.bring(part.digest, self._bringer)
        for child in manifest.children:
            if child.digest in repository.revisions:
                self._bring_revision(directory, repository, child.digest, depth - 1)
            elif directory.has(child.digest):
                directory.bring(child.digest, self._bringer)
        directory.bring(digest, self._bringer)
        return media_type

    def _load_layers(
        self, path: Path, name: str, directory: RegistryDirectory, repository: Repository
    ) -> Iterator[Result]:
        """Blobs that no manifest names could be read there, so they can here; yield failures."""
        for digest in sorted(repository.layers, key=str):
            if not directory.has(digest) or self._registry.blobs.has(name, digest):
                continue
            try:
                directory.bring(digest, self._bringer)
                self._registry.blobs.record(name, digest)
            except FAILURES as exc:
                yield Result(path, f"{name}: a blob", digest, in_words(exc))


def _done(path: Path, target: Target, refused: Mapping[Target, str]) -> Result:
    image = target.image if target.image.tag else replace(target.image, digest=target.digest)
    return Result(path, str(image), target.digest, refused.get(target, ""), image=image)


def in_words(error: Exception) -> str:
    """Return an error as one line for the operator, who is told the archive beside it."""
    if isinstance(error, RegistryError):
        return error.message
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) or type(error).__name__
