"""The registry over one storage, put together."""

from __future__ import annotations

from dataclasses import dataclass

from backends import Backend, space_of
from backends.base import Redirects
from backends.errors import Full, NotFound
from distserver.oci.digests import Digest
from distserver.registry import layout
from distserver.registry.blobs import Blobs
from distserver.registry.catalog import Catalog
from distserver.registry.content import Alarm, Content, no_alarm
from distserver.registry.freeze import Freezes
from distserver.registry.pulled import PulledManifests
from distserver.registry.records import RecordStore
from distserver.registry.referrers import Referrers
from distserver.registry.tags import Tags
from distserver.registry.uploads import Uploads


@dataclass(frozen=True, slots=True)
class Registry:
    """The parts that views ask; a wrapper of a registry (a proxy) replaces some of them."""

    backend: Backend
    content: Content
    records: RecordStore
    blobs: Blobs
    uploads: Uploads
    manifests: PulledManifests
    tags: Tags
    referrers: Referrers
    catalog: Catalog
    freezes: Freezes

    def require_space(self) -> None:
        """Refuse what would fill the storage, or comes in a freeze, before a byte is taken.

        Raises: Full, Unavailable.
        """
        self.freezes.require_none()
        space = space_of(self.backend)
        if space and space.full:
            raise Full(f"only {space.free_bytes >> 20} MiB are free, the rest is a reserve")

    def redirect_url(self, digest: Digest, seconds: int) -> str | None:
        """Return where clients get stored content from the storage itself, unverified, for so long.

        None if that is not set up, or the content is not stored. Rights were looked at before.
        Raises: Unavailable.
        """
        if not isinstance(self.backend, Redirects):
            return None
        try:
            return self.backend.redirect_url(layout.blob(digest), seconds)
        except NotFound:
            return None


def local_registry(
    backend: Backend,
    manifest_cache_bytes: int = 64 << 20,
    alarm: Alarm = no_alarm,
    content: Content | None = None,
) -> Registry:
    """Put a registry on a backend. Touches nothing.

    alarm    told of each stored copy that is found damaged
    content  of the backend, where it is not the plain one; it raises the alarm itself
    """
    records = RecordStore(backend)
    content = content or Content(backend, alarm)
    blobs = Blobs(content, records)
    tags = Tags(backend, records)
    manifests = PulledManifests(backend, content, records, blobs, tags, manifest_cache_bytes)
    return Registry(
        backend=backend,
        content=content,
        records=records,
        blobs=blobs,
        uploads=Uploads(backend, content, blobs),
        manifests=manifests,
        tags=tags,
        referrers=Referrers(backend, manifests),
        catalog=Catalog(backend),
        freezes=Freezes(backend),
    )
