"""OCI layouts: what their index.json names. Spec: image-spec image-layout.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distserver.bundle.errors import BundleError
from distserver.bundle.images import Image
from distserver.bundle.loading.archive import INDEX, Archive, Survey, blob_digest
from distserver.bundle.loading.bringing import Bringer
from distserver.bundle.loading.publishing import Target
from distserver.bundle.naming import Naming
from distserver.oci.errors import ManifestInvalid
from distserver.oci.manifests import OCI_INDEX, Descriptor, parse_manifest

LAYOUT_FILE = "oci-layout"
REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
ATTACHED_NAME = "internal.distserver.image.name"
"""Full name of a signature or another referrer: containerd must not take it for an image."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an index.json; name is as it is written there, "" = none."""

    descriptor: Descriptor
    name: str

    @property
    def full(self) -> bool:
        """Whether the name is more than a tag."""
        return "/" in self.name or ":" in self.name


def read_entries(index: bytes) -> list[Entry]:
    """Return what an index.json lists. Raises: BundleError."""
    try:
        listed = parse_manifest(index, OCI_INDEX).manifests
    except ManifestInvalid as exc:
        raise BundleError(f"{INDEX}: {exc.message}") from exc
    return [Entry(descriptor, _name(descriptor)) for descriptor in listed]


def place(entries: Sequence[Entry], naming: Naming) -> list[Target]:
    """Return where the images go. Raises: BundleError where a name is missing."""
    named = [(entry, naming.image(entry.name)) for entry in entries if entry.full]
    repositories = list({image.name for _, image in named})
    for entry in entries:
        if not entry.full and not entry.name and len(repositories) == 1:
            named.append((entry, Image(repositories[0])))  # of that one, a referrer
        elif not entry.full:
            named.append((entry, naming.unnamed(entry.name, len(entries) == 1)))
    return [_target(entry.descriptor, image) for entry, image in named]


def bring(archive: Archive, survey: Survey, entries: Sequence[Entry], bringer: Bringer) -> None:
    """Bring all blobs of a layout. Raises: BundleError, DigestInvalid, OSError, Full."""
    blobs = survey.blobs
    for entry in entries:
        digest, size = entry.descriptor.digest, entry.descriptor.size
        held = blobs[digest] == size if digest in blobs else bringer.holds(digest, size)
        if not held:
            raise BundleError(f"{entry.name or digest}: its manifest is missing in it")
    bringer.require_room(blobs)
    with archive.members() as members:
        for member in members:
            if named := blob_digest(member.name):
                bringer.bring(named, member.size, member.pieces())


def _target(descriptor: Descriptor, image: Image) -> Target:
    if image.digest not in (None, descriptor.digest):
        raise BundleError(f"{image} is another image in it, {descriptor.digest}")
    return Target(image, descriptor.digest, descriptor.media_type)


def _name(descriptor: Descriptor) -> str:
    found = (descriptor.annotations.get(key, "") for key in (ATTACHED_NAME, CONTAINERD_NAME))
    return next(filter(None, found), descriptor.annotations.get(REF_NAME, ""))
