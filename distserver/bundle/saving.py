"""Bundles: images as an OCI layout in a tar, the same bytes for the same images.

Of an index all is as it was, also the names of members that are not here: its digest stays. With
--since, configs and layers that the other side has are left out; manifests never are, so that who
loads it can tell what it needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from backends.errors import Corrupt
from distserver.bundle.archive import DOCKER, INDEX, blob_name
from distserver.bundle.contents import Collector, Contents
from distserver.bundle.errors import BundleError
from distserver.bundle.images import Image, split_image
from distserver.bundle.layout import ATTACHED_NAME, CONTAINERD_NAME, LAYOUT_FILE, REF_NAME
from distserver.bundle.lock import Locked, split_line
from distserver.bundle.naming import Naming
from distserver.bundle.tar import BLOCK, render_header
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestUnknown, NameInvalid, RegistryError
from distserver.oci.manifests import MAX_MANIFEST_BYTES, OCI_INDEX, Manifest
from distserver.oci.names import parse_name
from distserver.registry import Registry
from distserver.registry.content import READ_BYTES

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_ATTACHED = re.compile(r"sha(?:256|512)-(?:[0-9a-f]{64}){1,2}(?:\..+)?")
_END = bytes(2 * BLOCK)
_HEADERS_BYTES = 3 * BLOCK


@dataclass
class Bundle:
    """What a bundle shall have.

    entries   lines of its index.json, by name
    docker    lines of its manifest.json, by name: for `docker load`, which reads no index.json
    files     bytes of each blob and manifest
    locked    a line of the lock file for each image
    left_out  bytes that the other side has
    """

    entries: dict[str, dict[str, object]] = field(default_factory=dict)
    docker: dict[str, dict[str, object]] = field(default_factory=dict)
    files: dict[Digest, int] = field(default_factory=dict)
    locked: list[Locked] = field(default_factory=list)
    left_out: int = 0

    @property
    def index(self) -> bytes:
        """Its index.json."""
        listed = [self.entries[name] for name in sorted(self.entries)]
        fields = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
        return _json(fields)

    @property
    def docker_list(self) -> bytes:
        """Its manifest.json."""
        return _json([self.docker[name] for name in sorted(self.docker)])

    @property
    def size(self) -> int:
        """Its size in bytes, at most: what a name may add to a header is counted for all."""
        whole = sum(size + -size % BLOCK + _HEADERS_BYTES for size in self.files.values())
        return whole + len(self.index) + len(self.docker_list) + 12 * BLOCK

    def require_readable(self) -> None:
        """Refuse what could not be loaded again. Raises: BundleError."""
        if len(self.index) > MAX_MANIFEST_BYTES:
            raise BundleError(f"{len(self.entries)} images are too many for one bundle: make two")
        if len(self.docker_list) > MAX_MANIFEST_BYTES:
            self.docker.clear()

    def leave_out(self, held: Iterable[Digest]) -> None:
        """Leave out what the other side has."""
        for digest in held:
            self.left_out += self.files.pop(digest, 0)
        if self.left_out:
            self.docker.clear()  # docker knows no parts of images


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


def render(bundle: Bundle, registry: Registry, tick: Callable[[int], None]) -> Iterator[bytes]:
    """Yield the bytes of a bundle, each blob proved by its digest.

        tick  told of bytes
    Raises: Corrupt (a stored blob is damaged: what was written must not ship), Unavailable.
    """
    yield from _file(LAYOUT_FILE, _LAYOUT)
    yield from _file(INDEX, bundle.index)
    if bundle.docker:
        yield from _file(DOCKER, bundle.docker_list)
    for digest, size in sorted(bundle.files.items()):
        yield render_header(blob_name(digest), size)
        yield from _blob(registry, digest, size, tick)
        yield bytes(-size % BLOCK)
    yield _END


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


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _blob(
    registry: Registry, digest: Digest, size: int, tick: Callable[[int], None]
) -> Iterator[bytes]:
    left = size
    with registry.content.open(digest) as reader:
        while data := reader.read(READ_BYTES):
            left -= len(data)
            tick(len(data))
            yield data
    if left:
        raise Corrupt(f"{digest} has another size than before")


def _file(name: str, data: bytes) -> Iterator[bytes]:
    yield render_header(name, len(data))
    yield data + bytes(-len(data) % BLOCK)


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
