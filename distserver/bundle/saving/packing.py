"""Collects images for a bundle, with what is attached to them; and what a site has already."""

from __future__ import annotations

import re
from collections.abc import Iterable

from distserver.bundle.errors import BundleError
from distserver.bundle.images import Image, split_image
from distserver.bundle.loading.archive import blob_name
from distserver.bundle.loading.layout import ATTACHED_NAME, CONTAINERD_NAME, REF_NAME
from distserver.bundle.lock import Locked, split_line
from distserver.bundle.naming import Naming
from distserver.bundle.saving.contents import Collector, Contents
from distserver.bundle.saving.save import Bundle
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestUnknown, NameInvalid, RegistryError
from distserver.oci.manifests import Manifest
from distserver.oci.names import parse_name
from distserver.registry import Registry

_ATTACHED = re.compile(r"sha(?:256|512)-(?:[0-9a-f]{64}){1,2}(?:\..+)?")


class Packer:
    """Collects images for a bundle. Changes nothing in the registry."""

    def __init__(self, registry: Registry, naming: Naming) -> None:
        self._registry, self._naming = registry, naming

    def everything(self) -> list[Image]:
        """Return all tags of all repositories. Raises: Unavailable."""
        return [
            Image(name, tag)
            for name in self._registry.catalog.names()
            for tag in sorted(self._registry.tags.all(name))
            if not is_attached(tag)
        ]

    def find(self, text: str) -> Image:
        """Return the image of a name, as `ls` shows it, or as docker reads it.

        Raises: BundleError, Unavailable.
        """
        try:
            name, tag, digest = split_image(text)
        except RegistryError as exc:
            raise BundleError(f"{text}: {exc.message}") from exc
        if _is_name(name) and self._registry.catalog.knows(name):
            return Image(name, tag, digest)
        return self._naming.image(text)

    def pack(self, bundle: Bundle, image: Image, platforms: tuple[str, ...]) -> None:
        """Add an image with all that is attached to it.

        Raises: BundleError (it is not here, or not whole), Unavailable, Corrupt.
        """
        try:
            stored = self._registry.manifests.get(image.name, image.reference)
        except ManifestUnknown as exc:
            raise BundleError(f"{image} is not here: `distserver ls` lists what is") from exc
        collector = Collector(self._registry, image.name, platforms)
        contents = collector.collect(stored.digest)
        _require_whole(image, contents, platforms)
        full = self._naming.outside(image.name)
        name = f"{full}:{image.tag}" if image.tag else f"{full}@{stored.digest}"
        marks = {CONTAINERD_NAME: name, REF_NAME: name}
        self._enter(bundle, image.name, stored.digest, name, marks)
        bundle.files |= contents.manifests | contents.blobs
        if image.tag and contents.runnable:
            bundle.docker.setdefault(name, _docker_entry(name, contents.runnable))
        partly = tuple(dict.fromkeys(contents.platforms)) if contents.absent else ()
        pinned = Image(image.name, image.tag, stored.digest)
        bundle.locked.append(Locked(pinned, partly, contents.size))
        self._attach(bundle, image.name, list(contents.manifests))

    def implied(self, lock: Iterable[str]) -> set[Digest]:
        """Return the configs and layers that a site has whose lock file has these lines.

        Only what is held here too can be known. Raises: BundleError, Unavailable, Corrupt.
        """
        held: set[Digest] = set()
        for line in lock:
            if not (parsed := split_line(line)):
                continue
            image = self.find(parsed[0])
            if image.digest:
                collector = Collector(self._registry, image.name, parsed[1], others=False)
                held |= collector.collect(image.digest).blobs.keys()
        return held

    def _attach(self, bundle: Bundle, name: str, todo: list[Digest]) -> None:
        """Add what is attached to manifests, and to that in turn, as far as it is whole here."""
        collector, full = Collector(self._registry, name), self._naming.outside(name)
        seen = set(todo)
        while todo:
            for tag, digest in collector.attached(todo.pop()):
                contents = collector.collect(digest)
                if contents.missing:
                    continue
                entry = f"{full}:{tag}" if tag else f"{full}@{digest}"
                self._enter(bundle, name, digest, entry, {ATTACHED_NAME: entry})
                bundle.files |= contents.manifests | contents.blobs
                todo += [new for new in contents.manifests if new not in seen]
                seen |= contents.manifests.keys()

    def _enter(
        self, bundle: Bundle, name: str, digest: Digest, entry: str, marks: dict[str, str]
    ) -> None:
        stored = self._registry.manifests.get(name, digest)
        bundle.entries.setdefault(
            entry,
            {
                "mediaType": stored.media_type,
                "digest": str(digest),
                "size": len(stored.data),
                "annotations": marks,
            },
        )


def is_attached(tag: str) -> bool:
    """Whether a tag is not an image's, but of what is said of one."""
    return bool(_ATTACHED.fullmatch(tag))


def _is_name(text: str) -> bool:
    try:
        return bool(parse_name(text))
    except NameInvalid:
        return False


def _docker_entry(name: str, manifest: Manifest) -> dict[str, object]:
    """Return what docker wants to know of an image for one platform."""
    config, *layers = [blob_name(part.digest) for part in manifest.blobs]
    return {"Config": config, "RepoTags": [name], "Layers": layers}


def _require_whole(image: Image, contents: Contents, platforms: tuple[str, ...]) -> None:
    here = ", ".join(dict.fromkeys(contents.platforms))
    if contents.missing:
        raise BundleError(
            f"{image} is not whole here, {len(contents.missing)} parts are missing, such as "
            f"{contents.missing[0]}" + (f" (platforms: {here})" if here else "")
        )
    if contents.absent and not contents.platforms:
        wanted = " or ".join(platforms) or "any platform"
        raise BundleError(f"{image} is not here for {wanted}")
