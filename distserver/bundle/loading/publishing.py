"""Images whose bytes were brought become visible: all of an archive is checked, then published.

A push does the same in the same order. What was loaded under an upstream's name counts as pulled
from there; what was loaded under a name of ours as pushed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from backends.errors import Corrupt, NotFound
from distserver.bundle.errors import BundleError
from distserver.bundle.images import Image
from distserver.bundle.naming import Naming
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestInvalid, ManifestUnknown, Purged
from distserver.oci.manifests import (
    MANIFESTS,
    MAX_MANIFEST_BYTES,
    Descriptor,
    Manifest,
    parse_manifest,
)
from distserver.oci.names import Tag
from distserver.registry import Registry

MAX_DEPTH = 4
"""Deepest nesting of indexes."""


@dataclass(frozen=True, slots=True)
class Target:
    """An image that becomes visible: its name here with its digest, and its manifest's type."""

    image: Image
    digest: Digest
    media_type: str | None


@dataclass(frozen=True, slots=True)
class _Step:
    """A manifest to be published, when all that it names was; sparse: some members are not here."""

    digest: Digest
    media_type: str
    sparse: bool


class Publisher:
    """Shows what was brought.

    brought  digests that the archive has: what it has of an index must be whole
    """

    def __init__(self, registry: Registry, naming: Naming, brought: Collection[Digest]) -> None:
        self._registry, self._naming, self._brought = registry, naming, brought
        self._seen: set[tuple[str, Digest]] = set()

    def publish(self, targets: Sequence[Target]) -> dict[Target, str]:
        """Publish all images, or none if one is not whole.

        Returns: those that are left out since they have something that was purged here, and why.
        Raises: BundleError naming what is missing; Full, Unavailable.
        """
        _check_tags(targets)
        planned, refused = list[tuple[Target, list[_Step]]](), dict[Target, str]()
        for target in targets:
            try:
                planned.append((target, self._plan(target)))
            except Purged as exc:
                refused[target] = exc.message
        for target, steps in planned:
            for step in steps:
                self._show(target, step)
        return refused

    def _plan(self, target: Target) -> list[_Step]:
        self._seen.clear()
        try:
            self._require_tag(target)
            return self._steps(target.image.name, target.digest, target.media_type, MAX_DEPTH)
        except (BundleError, ManifestInvalid) as exc:
            raise BundleError(f"{target.image}: {exc}") from exc

    def _steps(self, name: str, digest: Digest, media_type: str | None, depth: int) -> list[_Step]:
        """Return what is to be published for a manifest, children first. Raises: BundleError."""
        if (name, digest) in self._seen:
            return []
        self._seen.add((name, digest))
        manifest = self._manifest(digest, media_type)
        self._require(digest, _blobs(manifest))
        members = [child for child in manifest.children if child.media_type in MANIFESTS]
        here = [child for child in members if child.digest in self._brought]
        if members and not (here and depth):
            raise BundleError(f"no member of the index {digest} is in it")
        steps: list[_Step] = []
        for child in here:
            self._require(digest, [child])
            steps += self._steps(name, child.digest, child.media_type, depth - 1)
        return [*steps, _Step(digest, manifest.media_type, len(here) < len(members))]

    def _manifest(self, digest: Digest, media_type: str | None) -> Manifest:
        try:
            return parse_manifest(self._read(digest), media_type)
        except NotFound as exc:
            raise BundleError(f"the manifest {digest} is missing in it") from exc
        except Corrupt as exc:
            raise BundleError(f"the manifest {digest} is damaged, or too large") from exc

    def _read(self, digest: Digest) -> bytes:
        return self._registry.content.read(digest, MAX_MANIFEST_BYTES)

    def _require(self, digest: Digest, parts: Sequence[Descriptor]) -> None:
        """Require that content is here in the size that a manifest says. Raises: BundleError."""
        missing = []
        for part in parts:
            try:
                size = self._registry.content.size(part.digest)
            except (NotFound, Corrupt):
                missing.append(str(part.digest))
            else:
                if size != part.size:
                    raise BundleError(f"{digest} says a wrong size of {part.digest}")
        if missing:
            raise BundleError(
                f"{len(missing)} parts are neither in it nor held here, such as {missing[0]} "
                "(if it was saved with --since, load the bundle before it first)"
            )

    def _show(self, target: Target, step: _Step) -> None:
        registry, name = self._registry, target.image.name
        body = self._read(step.digest)
        manifest = parse_manifest(body, step.media_type)
        tag = target.image.tag if step.digest == target.digest else None
        if self._is_shown(name, step.digest, manifest, tag):
            return
        for part in _blobs(manifest):
            registry.blobs.record(name, part.digest)
        tags = [tag] if tag else []
        if step.sparse or self._naming.is_pulled(name):
            registry.manifests.keep(name, step.digest, body, manifest, tags)
        else:
            registry.manifests.put(name, step.digest, tags, body, step.media_type)

    def _is_shown(self, name: str, digest: Digest, manifest: Manifest, tag: Tag | None) -> bool:
        held = self._registry.blobs.has
        return (
            self._registry.manifests.has(name, digest)
            and all(held(name, part.digest) for part in _blobs(manifest))
            and (not tag or self._tagged(name, tag) == digest)
        )

    def _tagged(self, name: str, tag: Tag) -> Digest | None:
        try:
            return self._registry.tags.resolve(name, tag).digest
        except ManifestUnknown:
            return None

    def _require_tag(self, target: Target) -> None:
        """Let what was pushed here under an upstream's name stay. Raises: BundleError."""
        name, tag = target.image.name, target.image.tag
        named = self._tagged(name, tag) if tag and self._naming.is_pulled(name) else None
        if named in (None, target.digest):
            return
        try:
            pushed = not self._registry.manifests.get(name, named).pulled
        except (ManifestUnknown, Corrupt, Purged):
            return
        if pushed:
            raise BundleError("this tag was pushed here, and stays: delete it first, or use --as")


def _blobs(manifest: Manifest) -> list[Descriptor]:
    """What a manifest names and is no manifest: also the members of a build cache."""
    members = [child for child in manifest.children if child.media_type not in MANIFESTS]
    return [*manifest.blobs, *members]


def _check_tags(targets: Sequence[Target]) -> None:
    """Refuse two images for one tag. Raises: BundleError."""
    meant: dict[tuple[str, str], Digest] = {}
    for target in targets:
        key = (target.image.name, target.image.tag or "")
        if key[1] and meant.setdefault(key, target.digest) != target.digest:
            raise BundleError(f"two images in it would be {target.image}")
