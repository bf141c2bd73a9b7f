"""Referrers: which manifests of a repository name a digest as their subject.

The hints that pushes leave are filtered by live records. Manifests that older clients listed under
the fallback tag of the referrers tag schema are found as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from backends import Backend
from distserver.oci.digests import Digest
from distserver.oci.errors import DigestInvalid, ManifestInvalid, ManifestUnknown, Purged
from distserver.oci.manifests import Manifest, parse_manifest, referrer_descriptor
from distserver.oci.references import fallback_tag
from distserver.registry import layout
from distserver.registry.manifests import Manifests


class Referrers:
    """What end-12 asks."""

    def __init__(self, backend: Backend, manifests: Manifests) -> None:
        self._backend = backend
        self._manifests = manifests

    def list(self, name: str, subject: Digest, after: str = "") -> Iterator[dict[str, Any]]:
        """Yield the descriptors of all referrers, ascending by digest.

            after  exclusive: begin behind this digest
        Raises: Unavailable, Corrupt. Spec: end-12, "Listing Referrers".
        """
        found = self._hinted(name, subject) | self._from_fallback_tag(name, subject)
        for digest in sorted(found, key=str):
            if str(digest) > after and (descriptor := self._descriptor(name, subject, digest)):
                yield descriptor

    def _hinted(self, name: str, subject: Digest) -> set[Digest]:
        prefix = layout.referrers(name, subject)
        hints = (key[len(prefix) :] for key in self._backend.keys(prefix))
        return {digest for digest in map(_parse_hint, hints) if digest}

    def _from_fallback_tag(self, name: str, subject: Digest) -> set[Digest]:
        try:
            stored = self._manifests.held(name, fallback_tag(subject))
            index = parse_manifest(stored.data, stored.media_type)
        except (ManifestUnknown, ManifestInvalid, Purged):
            return set()
        return {descriptor.digest for descriptor in index.children}

    def _descriptor(self, name: str, subject: Digest, digest: Digest) -> dict[str, Any] | None:
        try:
            stored = self._manifests.held(name, digest)
        except (ManifestUnknown, Purged):
            return None
        manifest: Manifest = parse_manifest(stored.data, stored.media_type)
        if manifest.subject is None or manifest.subject.digest != subject:
            return None
        return referrer_descriptor(manifest, digest, len(stored.data))


def _parse_hint(text: str) -> Digest | None:
    try:
        return Digest.parse(text.replace("-", ":", 1))
    except DigestInvalid:
        return None
