"""What was begun is completed: the config and layers of each image manifest that was pulled.

The link may drop between a manifest and its layers, and podman never changes its mirror after a
manifest. So layers are fetched in the background at once, again and again until they are here, and
a manifest whose layers are not is not offered while its upstream cannot bring them.
Members of an index are completed when a node asks for them, or for the platforms that are
configured. Signatures come along: what cosign keeps in tags, and referrers.
"""

from __future__ import annotations

from collections.abc import Collection

from distserver.oci.digests import Digest
from distserver.oci.manifests import Descriptor, Manifest, parse_manifest
from distserver.oci.references import referrers_tag
from distserver.proxy.begun import Begun
from distserver.proxy.fetching.partial import Partial
from distserver.proxy.memory import Memory
from distserver.proxy.sources import Source
from distserver.registry.blobs import Blobs
from distserver.registry.manifests import Manifests, StoredManifest

MAX_DEPTH = 4
COSIGN = (".sig", ".att", ".sbom")
HINDERED_SECONDS = 30.0
"""How long an image is not offered after something of it did not come."""
COMPLETE_SECONDS = 60.0
"""How long the answer that an image is complete is remembered."""


class Completion:
    """Knows which images are complete, and remembers which shall be.

    blobs      what is held; asks no upstream
    manifests  likewise
    """

    def __init__(self, blobs: Blobs, manifests: Manifests, begun: Begun) -> None:
        self._blobs, self._manifests, self._begun = blobs, manifests, begun
        self._complete: Memory[tuple[str, Digest], bool] = Memory(100_000, COMPLETE_SECONDS)

    def begin(self, source: Source, name: str, digest: Digest, manifest: Manifest) -> None:
        """Let the image be completed in the background, here or by another process of the node."""
        signed = source.upstream.signatures and manifest.subject is None
        self._begun.add(name, digest, manifest, signed)

    def is_complete(self, name: str, stored: StoredManifest, depth: int = MAX_DEPTH) -> bool:
        """Whether a node can run it from what is held: of an index, at least one member.

        Raises: Unavailable.
        """
        key = (name, stored.digest)
        if self._complete.get(key):
            return True
        manifest = parse_manifest(stored.data, stored.media_type)
        complete = all(self._blobs.has(name, blob.digest) for blob in manifest.blobs)
        if manifest.children:
            members = (child.digest for child in manifest.children)
            complete = depth > 0 and any(self._has(name, member, depth) for member in members)
        if complete:
            self._complete.set(key, True)
        return complete

    def hindrance(self, source: Source, name: str, manifest: Manifest) -> str | None:
        """Why something that the image lacks did not come a moment ago; None if nothing hinders.

        Raises: Unavailable, OSError.
        """
        for blob in manifest.blobs:
            failure = Partial(source.wanted(blob.digest).directory).failure(HINDERED_SECONDS)
            if failure and not self._blobs.has(name, blob.digest):
                return failure.reason
        for child in manifest.children:
            if self._manifests.has(name, child.digest):
                stored = self._manifests.get(name, child.digest)
                member = parse_manifest(stored.data, stored.media_type)
                if not member.children and (found := self.hindrance(source, name, member)):
                    return found
        return None

    def _has(self, name: str, digest: Digest, depth: int) -> bool:
        if not self._manifests.has(name, digest):
            return False
        return self.is_complete(name, self._manifests.get(name, digest), depth - 1)


def members(manifest: Manifest, platforms: Collection[str]) -> list[Descriptor]:
    """Return the members of an index that are for one of the platforms, os/architecture/variant."""
    return [child for child in manifest.children if _platform(child) & set(platforms)]


def signature_tags(digest: Digest) -> list[str]:
    """Return the tags under which cosign keeps what is said of an image."""
    return [referrers_tag(str(digest)) + suffix for suffix in COSIGN]


def _platform(child: Descriptor) -> set[str]:
    """The ways to name a member's platform: with its variant, and without."""
    said = child.platform or {}
    plain = f"{said.get('os')}/{said.get('architecture')}"
    return {plain, f"{plain}/{said['variant']}"} if said.get("variant") else {plain}
