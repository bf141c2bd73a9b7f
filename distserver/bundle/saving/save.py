"""Bundles: images as an OCI layout in a tar, the same bytes for the same images.

Of an index all is as it was, also the names of members that are not here: its digest stays. With
--since, configs and layers that the other side has are left out; manifests never are, so that who
loads it can tell what it needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from backends.errors import Corrupt
from distserver.bundle.errors import BundleError
from distserver.bundle.loading.archive import DOCKER, INDEX, blob_name
from distserver.bundle.loading.layout import LAYOUT_FILE
from distserver.bundle.loading.tar import BLOCK, render_header
from distserver.bundle.lock import Locked
from distserver.oci.digests import Digest
from distserver.oci.manifests import MAX_MANIFEST_BYTES, OCI_INDEX
from distserver.registry import Registry
from distserver.registry.content import READ_BYTES

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
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
