"""What an image consists of here, and what is attached to it: signatures and other referrers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from backends.errors import Corrupt
from distserver.bundle.loading.publishing import MAX_DEPTH
from distserver.oci.digests import Digest
from distserver.oci.errors import BlobUnknown, ManifestUnknown
from distserver.oci.manifests import MANIFESTS, Descriptor, Manifest, parse_manifest
from distserver.oci.names import Tag, parse_tag
from distserver.oci.references import fallback_tag
from distserver.proxy.completion import members, signature_tags
from distserver.registry import Registry

COMMON = "linux/amd64"
CONFIGS = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)
"""Types of the configuration of what can be run."""


@dataclass(frozen=True, slots=True)
class Contents:
    """All that an image has here.

    manifests  bytes of each manifest, the image's own first
    blobs      bytes of each config and layer
    platforms  os/architecture[/variant] of the members of an index that are here
    absent     the same of the members that are not, or were not asked for
    missing    what should be here and is not, as digests
    images     manifests of what can be run, without foreign layers; by platform, "" = not said
    """

    manifests: dict[Digest, int] = field(default_factory=dict)
    blobs: dict[Digest, int] = field(default_factory=dict)
    platforms: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    images: dict[str, Manifest] = field(default_factory=dict)

    @property
    def runnable(self) -> Manifest | None:
        """The image that stands for all: that for COMMON, else the first; None if it has none."""
        first = next(iter(self.images.values()), None)
        return self.images.get(COMMON, first)

    @property
    def size(self) -> int:
        """Bytes of it all."""
        return sum(self.manifests.values()) + sum(self.blobs.values())


@dataclass(frozen=True, slots=True)
class Collector:
    """Collects the contents of images of a repository.

    platforms  of an index only members for these; empty = all that are held
    others     members for no platform, such as attestations, come with those for some
    """

    registry: Registry
    name: str
    platforms: tuple[str, ...] = ()
    others: bool = True

    def collect(self, digest: Digest) -> Contents:
        """Return what an image has here. Raises: Unavailable; Corrupt (a manifest)."""
        found = Contents()
        self._add(found, digest, MAX_DEPTH)
        return found

    def attached(self, digest: Digest) -> Iterator[tuple[Tag | None, Digest]]:
        """Yield the manifests that say something of one, by tag or as referrers.

        Raises: Unavailable, Corrupt.
        """
        for text in (*signature_tags(digest), fallback_tag(digest)):
            try:
                tag = parse_tag(text)
                yield tag, self.registry.tags.resolve(self.name, tag).digest
            except ManifestUnknown:
                continue
        for descriptor in self.registry.referrers.list(self.name, digest):
            yield None, Digest.parse(descriptor["digest"])

    def _add(self, found: Contents, digest: Digest, depth: int, platform: str = "") -> None:
        if digest in found.manifests or not depth:
            return
        try:
            stored = self.registry.manifests.get(self.name, digest)
        except ManifestUnknown:
            found.missing.append(str(digest))
            return
        manifest = parse_manifest(stored.data, stored.media_type)
        found.manifests[digest] = len(stored.data)
        parts = [part for part in manifest.references if part.media_type not in MANIFESTS]
        for part in parts:
            self._add_blob(found, part)
        alone = depth == MAX_DEPTH
        if (platform or alone) and _is_image(manifest) and parts == [*manifest.blobs]:
            found.images.setdefault(platform, manifest)
        for child in self._members(found, manifest):
            self._add(found, child.digest, depth - 1, platform_of(child))

    def _add_blob(self, found: Contents, part: Descriptor) -> None:
        try:
            found.blobs[part.digest] = self.registry.blobs.size(self.name, part.digest)
        except (BlobUnknown, Corrupt):
            if not part.foreign:
                found.missing.append(str(part.digest))

    def _members(self, found: Contents, manifest: Manifest) -> list[Descriptor]:
        """Return the members of an index that belong to it here."""
        listed = [child for child in manifest.children if child.media_type in MANIFESTS]
        chosen = []
        for child in listed:
            platform = platform_of(child)
            held = self.registry.manifests.has(self.name, child.digest)
            asked = child in members(manifest, self.platforms)
            if asked or (held and (not self.platforms or (self.others and not platform))):
                chosen.append(child)
                found.platforms.extend([platform] if platform else [])
            else:
                found.absent.append(platform)
        return chosen


def _is_image(manifest: Manifest) -> bool:
    return bool(manifest.config and manifest.config.media_type in CONFIGS)


def platform_of(member: Descriptor) -> str:
    """Return os/architecture[/variant] of a member of an index; "" if it is for none."""
    said = member.platform or {}
    parts = [said.get(key) for key in ("os", "architecture", "variant")]
    known = [part for part in parts if isinstance(part, str) and part and part != "unknown"]
    return "/".join(known)
