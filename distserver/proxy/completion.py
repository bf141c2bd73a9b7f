"""What was begun is completed: the config and layers of each image manifest that was pulled.

The link may drop between a manifest and its layers, and podman never changes its mirror after a
manifest. So layers are fetched in the background at once, again and again until they are here, and
a manifest whose layers are not is not offered while its upstream cannot bring them.
Members of an index are completed when a node asks for them, or for the platforms that are
configured. Signatures come along: what cosign keeps in tags, and referrers.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from distserver.oci.digests import Digest
from distserver.oci.errors import Purged
from distserver.oci.manifests import Descriptor, Manifest, parse_manifest
from distserver.oci.references import referrers_tag
from distserver.proxy.begun import Begun
from distserver.proxy.fetching.partial import Partial
from distserver.proxy.memory import Memory
from distserver.proxy.sources import Source
from distserver.registry.arrival import is_whole
from distserver.registry.blobs import Blobs
from distserver.registry.manifests import Manifests, StoredManifest

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

    def is_complete(self, name: str, stored: StoredManifest) -> bool:
        """Whether a node can run it from what is held: of an index, at least one member.

        Raises: Unavailable.
        """
        key = (name, stored.digest)
        if self._complete.get(key):
            return True
        if is_whole(stored, partial(self._is_settled, name), partial(self._member, name)):
            self._complete.set(key, True)
            return True
        return False

    def _is_settled(self, name: str, digest: Digest) -> bool:
        """Whether nothing of a blob has to come: what was purged never does."""
        try:
            return self._blobs.has(name, digest)
        except Purged:
            return True

    def hindrance(self, source: Source, name: str, manifest: Manifest) -> str | None:
        """Why something that the image lacks did not come a moment ago; None if nothing hinders.

        Raises: Unavailable, OSError.
        """
        for blob in manifest.blobs:
            failure = Partial(source.wanted(blob.digest).directory).failure(HINDERED_SECONDS)
            if failure and not self._is_settled(name, blob.digest):
                return failure.reason
        for child in manifest.children:
            if stored := self._member(name, child.digest):
                member = parse_manifest(stored.data, stored.media_type)
                if not member.children and (found := self.hindrance(source, name, member)):
                    return found
        return None

    def _member(self, name: str, digest: Digest) -> StoredManifest | None:
        if not self._manifests.has(name, digest):
            return None
        try:
            return self._manifests.held(name, digest)
        except Purged:
            return None


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
