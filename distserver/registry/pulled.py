"""Manifests that come from an upstream: kept before their content, and their tags follow it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

from backends import read_all
from backends.errors import NotFound, Unavailable
from distserver.oci.digests import Digest
from distserver.oci.manifests import Manifest
from distserver.oci.names import Tag
from distserver.registry import layout
from distserver.registry.manifest_record import MAX_RECORD_BYTES, field
from distserver.registry.manifests import PUSH_TRIES, Manifests
from distserver.registry.tags import Current


class PulledManifests(Manifests):
    """What a proxy, or the loader of an archive, does with manifests, beside what clients do."""

    def keep(
        self, name: str, digest: Digest, body: bytes, manifest: Manifest, tags: Sequence[Tag]
    ) -> None:
        """Store a pulled manifest, whose digest was proved and whose content may come later.

        A tag that was pushed here stays as it is. Raises: Full, Unavailable.
        """
        data = json.dumps({"mediaType": manifest.media_type, "pulled": True}).encode()
        prefix = layout.manifest_records(name, digest)
        for _ in range(PUSH_TRIES):
            self._content.put_small(digest, body)
            self._announce(name, digest, manifest)
            record = self._records.ensure(prefix, data)
            self._content.put_small(digest, body)  # the collector may have taken it
            for tag in tags:
                self._tags.follow(name, tag, digest, record, partial(self._is_pulled, name))
            # Again: an eviction that did not see this record may have taken these.
            self._announce(name, digest, manifest)
            if record in self._records.read(prefix).live:
                return
        raise Unavailable(f"{digest} is being evicted at the same time")

    def drop(self, name: str, tag: Tag, digest: Digest) -> None:
        """Delete a tag that its upstream deleted, if it still names this pulled manifest.

        Raises: Full, Unavailable.
        """
        self._tags.unfollow(
            name, tag, lambda now: now.digest == digest and self._is_pulled(name, now)
        )

    def _is_pulled(self, name: str, current: Current) -> bool:
        key = layout.manifest_records(name, current.digest) + current.record
        try:
            return field(read_all(self._backend, key, MAX_RECORD_BYTES), "pulled") is True
        except NotFound:
            return True
