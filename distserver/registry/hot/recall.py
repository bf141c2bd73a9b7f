"""What this node can serve by itself while the storage is away: facts whose content it has.

Only what was true within a bounded time (see facts), and only bytes that prove right.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from backends.errors import Unavailable
from distserver.oci.digests import Digest
from distserver.oci.manifests import MAX_MANIFEST_BYTES
from distserver.oci.names import Tag
from distserver.oci.references import Reference
from distserver.registry.hot.content import HotContent
from distserver.registry.hot.facts import About, Facts
from distserver.registry.manifests import StoredManifest

log = logging.getLogger(__name__)

BLOB, MANIFEST, TAG = "blob", "manifest", "tag"


class Recall:
    """Facts of a node, and the copies that make them useful."""

    def __init__(self, content: HotContent, facts: Facts) -> None:
        self.content, self._facts = content, facts
        content.denied.listen(self.forget)

    def begin(self) -> None:
        """Make ready for serving: from here on removals leave marks."""
        self._facts.begin()

    def note_blob(self, name: str, digest: Digest, asked: int) -> None:
        """Keep that a repository has a blob; see Facts.note."""
        self._note((BLOB, name, str(digest)), {}, asked)

    def note_manifest(
        self, name: str, reference: Reference, stored: StoredManifest, asked: int
    ) -> None:
        """Keep that a repository has a manifest, and that a tag names it."""
        value = {"type": stored.media_type, "pulled": stored.pulled}
        self._note((MANIFEST, name, str(stored.digest)), value, asked)
        if isinstance(reference, Tag):
            self._note((TAG, name, reference), {"digest": str(stored.digest)}, asked)

    def removed(self, kind: str, name: str, reference: Reference) -> None:
        """Forget what was removed, or replaced, before that is acknowledged.

        Raises: Unavailable: it must not be acknowledged.
        """
        if not self.content.is_distant():
            return
        try:
            self._facts.remove((kind, name, str(reference)))
        except OSError as exc:
            raise Unavailable(f"done, but this node cannot take note of it: {exc}") from exc

    def blob_size(self, name: str, digest: Digest) -> int | None:
        """Size of a blob that can be served; None = it cannot."""
        if self._facts.get((BLOB, name, str(digest))) is None:
            return None
        return self.content.copy_size(digest)

    def manifest(self, name: str, reference: Reference) -> StoredManifest | None:
        """Return a manifest that can be served; None = it cannot. One by tag carries a warning."""
        warning, digest = "", reference
        if isinstance(reference, Tag):
            tagged = self._facts.get((TAG, name, reference))
            if tagged is None:
                return None
            digest = tagged[0]["digest"]
            warning = f"the storage is away: this is what the tag named {tagged[1]:.0f} s ago"
        known = self._facts.get((MANIFEST, name, str(digest)))
        parsed = Digest.parse(str(digest))
        data = known and self.content.read_copy(parsed, MAX_MANIFEST_BYTES)
        if not known or data is None:
            return None
        fact = known[0]
        return StoredManifest(parsed, fact["type"], data, warning, fact["pulled"])

    def forget(self, digests: Collection[Digest]) -> None:
        """Remove what is kept of purged content. A disk that refuses is logged: no copy, no fact of
        it is used, and copies go with the next sweep.
        """
        self.content.forget(digests)
        try:
            self._facts.forget(digests)
        except OSError as exc:
            log.warning("facts of what was purged stay: %s", exc)

    def sweep(self) -> int:
        """Remove what is of no use any more; return how many files. Raises: OSError."""
        return self.content.sweep() + self._facts.sweep()

    def _note(self, about: About, value: dict[str, object], asked: int) -> None:
        if self.content.is_distant():
            self._facts.note(about, value, asked)
