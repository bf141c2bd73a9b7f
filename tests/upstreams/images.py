"""Small multi-arch images made from a seed, which containerd can unpack: no two share a byte."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urljoin

import requests

_OCI = "application/vnd.oci.image."
INDEX, MANIFEST = f"{_OCI}index.v1+json", f"{_OCI}manifest.v1+json"
CONFIG, LAYER = f"{_OCI}config.v1+json", f"{_OCI}layer.v1.tar+gzip"


def digest_of(data: bytes) -> str:
    """sha256:…, of bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, repr=False)
class Image:
    """An index with one platform, its manifest, config and one layer."""

    index: bytes
    manifest: bytes
    config: bytes
    layer: bytes

    @property
    def digest(self) -> str:
        """What a tag of the image names: the index."""
        return digest_of(self.index)

    @property
    def manifests(self) -> tuple[bytes, bytes]:
        """What is asked for under /manifests/, outer first."""
        return self.index, self.manifest

    @property
    def blobs(self) -> tuple[bytes, bytes]:
        """What is asked for under /blobs/, the config first."""
        return self.config, self.layer

    @property
    def digests(self) -> list[str]:
        """Of all its parts."""
        return [digest_of(part) for part in (*self.manifests, *self.blobs)]


def make(seed: str, size: int) -> Image:
    """Make an image whose layer has a little more than size bytes, which do not compress."""
    raw = tar(f"data/{seed.replace('/', '-')}", random.Random(seed).randbytes(size))
    layer = gzip.compress(raw, compresslevel=1, mtime=0)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Env": [f"SEED={seed}"], "Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(raw)]},
        "history": [{"created_by": "tests"}],
    }
    packed = json.dumps(config).encode()
    described = {"config": descriptor(CONFIG, packed), "layers": [descriptor(LAYER, layer)]}
    manifest = document(MANIFEST, **described)
    platform = {"platform": {"architecture": "amd64", "os": "linux"}}
    index = document(INDEX, manifests=[{**descriptor(MANIFEST, manifest), **platform}])
    return Image(index, manifest, packed, layer)


def push(image: Image, url: str, repository: str, tag: str = "v1") -> None:
    """Push an image by plain requests, as every registry takes them.

    Raises: requests.HTTPError for any refusal.
    """
    child = digest_of(image.manifest)
    manifests = [(child, MANIFEST, image.manifest), (tag, INDEX, image.index)]
    push_all(f"{url}/v2/{repository}", image.blobs, manifests)


def push_all(
    base: str, blobs: Iterable[bytes], manifests: Iterable[tuple[str, str, bytes]]
) -> None:
    """Push blobs and then manifests: reference, media type and bytes of each, in this order.

    base  http://HOST:PORT/v2/NAME
    Raises: requests.HTTPError for any refusal.
    """
    with requests.Session() as session:
        for blob in blobs:
            begun = session.post(f"{base}/blobs/uploads/", timeout=60)
            begun.raise_for_status()
            where = urljoin(begun.url, begun.headers["Location"])
            kind = {"Content-Type": "application/octet-stream"}
            where += f"{'&' if '?' in where else '?'}digest={digest_of(blob)}"
            session.put(where, data=blob, headers=kind, timeout=60).raise_for_status()
        for reference, media_type, kept in manifests:
            where, given = f"{base}/manifests/{reference}", {"Content-Type": media_type}
            session.put(where, data=kept, headers=given, timeout=60).raise_for_status()


def document(kind: str, **fields: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": kind, **fields}).encode()


def descriptor(kind: str, data: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}


def tar(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
