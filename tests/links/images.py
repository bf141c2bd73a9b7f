"""Images of one layer of a given size, whose bytes do not compress; the same at every build."""

from __future__ import annotations

import hashlib
import json
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

    layer  digest of its only layer
    size   bytes of that layer
    blobs  files of layer and config, by digest
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


def make_image(directory: Path, size: int, seed: object = 0) -> Image:
    """Make an image whose layer has size bytes, rounded up to whole blocks of 512.

    directory  may hold other images already
    """
    directory.mkdir(parents=True, exist_ok=True)
    layer, size = _layer(directory, -(-size // _BLOCK) * _BLOCK, seed)
    rootfs = {"type": "layers", "diff_ids": [layer]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
    described = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": _CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": _LAYER, "digest": layer, "size": size}],
    }
    files = {digest: directory / digest[7:] for digest in (layer, digest_of(config))}
    files[digest_of(config)].write_bytes(config)
    return Image(json.dumps(described).encode(), layer, size, files)


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


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
