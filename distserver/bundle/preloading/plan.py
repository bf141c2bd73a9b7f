"""What an image consists of, for the platforms that are wanted: before a byte of a layer moves.

Manifests are asked of a Place: this node's storage and its upstreams (here), or another server
(there). Nothing is converted: an index stays whole, and what of it is not wanted does not come.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from distserver.bundle.images import Image
from distserver.bundle.lock import Locked
from distserver.bundle.preloading.platforms import (
    lacking_platforms,
    wanted_children,
    which_there_are,
)
from distserver.oci.digests import Digest
from distserver.oci.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    parse_manifest,
)
from distserver.registry.arrival import MAX_DEPTH
from distserver.registry.manifests import StoredManifest

MANIFESTS = frozenset({OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST})


class Failure(Exception):
    """Something of an image did not come; the text says why, in words.

    patience  seconds without progress in which it is worth asking again; 0 = asking mends nothing
    """

    def __init__(self, reason: str, patience: float = 0.0) -> None:
        super().__init__(reason)
        self.patience = patience


@dataclass(frozen=True, slots=True)
class Top:
    """The manifest that an image's name means now.

    validated  its upstream said so just now
    note       what the operator should know of it; "" = nothing
    """

    stored: StoredManifest
    validated: bool = False
    note: str = ""


class Place(Protocol):
    """Where images are brought to. Methods are called from several threads."""

    def top(self, image: Image) -> Top:
        """Return what an image's name means. Raises: Failure. Blocks on: the network."""

    def manifest(self, name: str, digest: Digest) -> StoredManifest:
        """Bring a manifest. Raises: Failure. Blocks on: the network."""

    def said_of(self, name: str, stored: StoredManifest) -> Sequence[StoredManifest]:
        """Bring the signatures and referrers of an image. Raises: Failure."""

    def missing(self, name: str, blobs: Collection[Descriptor]) -> list[Descriptor]:
        """Return the blobs that have to be brought. Raises: Failure."""

    def bring(self, name: str, blob: Descriptor) -> None:
        """Bring a blob. Raises: Failure. Blocks on: the network, as long as bytes come."""

    def arrived(self, name: str, blob: Descriptor) -> int:
        """Return how many bytes of a blob that is not whole have come; 0 if nobody knows."""

    def usable_bytes(self) -> int | None:
        """Return the room for blobs; None if it is not known. Raises: Failure."""

    def finish(self, plan: Plan) -> None:
        """All of it came: let the tag name it. Raises: Failure if it is not there after all."""


@dataclass(frozen=True)
class Plan:
    """What an image consists of.

    platforms  that come; empty = all there are
    problem    why it will not be whole; "" = it will
    parts      manifests by digest, the top one first
    blobs      by digest
    """

    image: Image
    top: Top
    platforms: tuple[str, ...] = ()
    problem: str = ""
    parts: dict[Digest, StoredManifest] = field(default_factory=dict)
    blobs: dict[Digest, Descriptor] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[Digest, int]:
        """Bytes of each part of it, manifests too."""
        manifests = {digest: len(part.data) for digest, part in self.parts.items()}
        return manifests | {digest: blob.size for digest, blob in self.blobs.items()}

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return sum(self.sizes.values())

    @property
    def locked(self) -> Locked:
        """The image as a lock file has it."""
        stored = self.top.stored
        return Locked(
            Image(self.image.name, self.image.tag, stored.digest), self.platforms, self.size
        )


def make_plan(place: Place, image: Image, platforms: Sequence[str]) -> Plan:
    """Bring the manifests of an image, and tell what else it consists of.

        platforms  os/architecture[/variant]; empty = all
    Raises: Failure.
    """
    top = place.top(image)
    manifest = _parsed(top.stored)
    lacking = lacking_platforms(manifest, platforms)
    chosen = tuple(p for p in platforms if p not in lacking) if manifest.children else ()
    there = ", ".join(which_there_are(manifest))
    problem = f"there is none for {', '.join(lacking)}; there is: {there}" if lacking else ""
    plan = Plan(image, top, chosen, problem)
    if not lacking or chosen:
        _Walk(place, plan).add(top.stored, MAX_DEPTH)
    return plan


class _Walk:
    """Goes through the manifests of an image, and notes what they name."""

    def __init__(self, place: Place, plan: Plan) -> None:
        self._place, self._plan, self._name = place, plan, plan.image.name

    def add(self, stored: StoredManifest, depth: int) -> None:
        """Note a manifest and all below it. Raises: Failure."""
        manifest = self._note(stored)
        for child in wanted_children(manifest, self._plan.platforms):
            if child.media_type not in MANIFESTS:
                self._plan.blobs[child.digest] = child
            elif depth and child.digest not in self._plan.parts:
                self.add(self._place.manifest(self._name, child.digest), depth - 1)
        if manifest.subject is None:
            self._add_said_of(stored)

    def _add_said_of(self, stored: StoredManifest) -> None:
        try:
            for said in self._place.said_of(self._name, stored):
                self._note(said)
        except Failure as exc:
            raise Failure(f"its signatures: {exc}", exc.patience) from exc

    def _note(self, stored: StoredManifest) -> Manifest:
        manifest = _parsed(stored)
        self._plan.parts[stored.digest] = stored
        self._plan.blobs.update((blob.digest, blob) for blob in manifest.blobs)
        return manifest


def _parsed(stored: StoredManifest) -> Manifest:
    return parse_manifest(stored.data, stored.media_type)
