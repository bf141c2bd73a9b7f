"""Images with a layer of a given size, whose bytes do not compress; the same at every build."""

from __future__ import annotations

import hashlib
import json
import os
import random
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_PIECE = 1 << 20
_BLOCK = 512


@dataclass(frozen=True)
class Image:
    """An image for linux/amd64 on disk.

    layer  digest of its own layer, the last one
    size   bytes of that layer
    blobs  files of layers and config, by digest
    """

    manifest: bytes
    layer: str
    size: int
    blobs: Mapping[str, Path]
    media_type: str = MANIFEST

    @property
    def digest(self) -> str:
        """Digest of its manifest."""
        return digest_of(self.manifest)


def make_image(directory: Path, size: int, seed: object = 0, base: Image | None = None) -> Image:
    """Make an image whose last layer has size bytes, rounded up to whole blocks of 512.

    directory  may hold other images already
    base       an image whose layer lies below its own
    """
    directory.mkdir(parents=True, exist_ok=True)
    layer, size = _layer(directory, -(-size // _BLOCK) * _BLOCK, seed)
    files = {layer: directory / layer[7:]}
    below = [(base.layer, base.size)] if base else []
    if base:
        files[base.layer] = base.blobs[base.layer]
    layers = [*below, (layer, size)]
    rootfs = {"type": "layers", "diff_ids": [digest for digest, _ in layers]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
    files[digest_of(config)] = directory / digest_of(config)[7:]
    files[digest_of(config)].write_bytes(config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _item(_CONFIG, digest_of(config), len(config)),
        "layers": [_item(_LAYER, *one) for one in layers],
    }
    return Image(json.dumps(manifest).encode(), layer, size, files)


def write_layout(image: Image, directory: Path, tag: str, name: str = "") -> None:
    """Write an image as an OCI layout; name = its full name, as containerd imports it."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for digest, path in image.blobs.items():
        os.link(path, blobs / digest[7:])
    (blobs / image.digest[7:]).write_bytes(image.manifest)
    marks = {"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": name or tag}
    top = {**_item(MANIFEST, image.digest, len(image.manifest)), "annotations": marks}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _item(media_type: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _layer(directory: Path, size: int, seed: object) -> tuple[str, int]:
    """Write a tar of exactly size bytes under its digest; return digest and size."""
    made, found = directory / "layer.new", hashlib.sha256()
    with made.open("wb") as file:
        for piece in _tar(size, seed):
            found.update(piece)
            file.write(piece)
    made.rename(directory / found.hexdigest())
    return f"sha256:{found.hexdigest()}", size


def _tar(size: int, seed: object) -> Iterator[bytes]:
    """A tar with one file: its header, noise, and two empty blocks."""
    entry = tarfile.TarInfo("noise")
    entry.size = size - 3 * _BLOCK
    yield entry.tobuf()
    rng, left = random.Random(str(seed)), entry.size
    while left:
        piece = rng.randbytes(min(_PIECE, left))
        left -= len(piece)
        yield piece
    yield bytes(2 * _BLOCK)
