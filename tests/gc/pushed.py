"""Registries with a few images in them, for tests of the collector."""

from __future__ import annotations

import hashlib
import json

from distserver.oci.digests import Digest
from distserver.oci.names import Tag
from distserver.registry import Registry, layout

TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = b'{"os":"linux"}'


def digest(data: bytes) -> Digest:
    return Digest("sha256", hashlib.sha256(data).hexdigest())


def descriptor(data: bytes, media_type: str = "application/octet-stream") -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(digest(data)), "size": len(data)}


def manifest(*layers: bytes, **more: object) -> bytes:
    value = {
        "schemaVersion": 2,
        "mediaType": TYPE,
        "config": descriptor(CONFIG, "application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor(layer) for layer in layers],
        **more,
    }
    return json.dumps(value).encode()


def index(*members: bytes) -> bytes:
    rows = [descriptor(member, TYPE) for member in members]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": rows}).encode()


def push(registry: Registry, name: str, tag: str, *layers: bytes, **more: object) -> Digest:
    """Push an image of these layers; without a tag by its digest only."""
    for blob in (CONFIG, *layers):
        registry.blobs.put(name, digest(blob), [blob])
    return put(registry, name, tag, manifest(*layers, **more))


def put(registry: Registry, name: str, tag: str, body: bytes) -> Digest:
    return registry.manifests.put(name, None, [Tag(tag)] if tag else [], body, None).digest


def pulls(registry: Registry, name: str, reference: Digest | Tag) -> bool:
    """Whether the image is there with all that its manifest names."""
    stored = registry.manifests.get(name, reference)
    for row in json.loads(stored.data).get("layers", []):
        with registry.blobs.open(name, Digest.parse(row["digest"])) as reader:
            assert digest(reader.read()) == Digest.parse(row["digest"])
    return True


def contents(registry: Registry) -> set[Digest]:
    """All digests in place."""
    found = map(layout.digest_of_blob, registry.backend.keys(layout.BLOBS))
    return {one for one in found if one}


def trashed(registry: Registry) -> list[str]:
    return list(registry.backend.keys(layout.TRASH))
