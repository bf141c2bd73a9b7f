"""Multi-arch images built on disk without a network, the same bytes at every build.

An image has linux/amd64 and linux/arm64, each with a busybox layer of its own and one shared layer
of 40 MB that does not compress. It is written as an OCI layout; for Docker's media types that is
not quite the standard, but crane, regctl and oras read it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import requests

BIG_BYTES = 40_000_000
TAG = "v1"
ARCHITECTURES = ("amd64", "arm64")
_OCI = "application/vnd.oci.image."
_DOCKER = "application/vnd.docker."


@dataclass(frozen=True)
class Family:
    """The media types of one kind of image."""

    name: str
    index: str
    manifest: str
    config: str
    layer: str


OCI = Family(
    "oci",
    f"{_OCI}index.v1+json",
    f"{_OCI}manifest.v1+json",
    f"{_OCI}config.v1+json",
    f"{_OCI}layer.v1.tar+gzip",
)
DOCKER = Family(
    "docker",
    f"{_DOCKER}distribution.manifest.list.v2+json",
    f"{_DOCKER}distribution.manifest.v2+json",
    f"{_DOCKER}container.image.v1+json",
    f"{_DOCKER}image.rootfs.diff.tar.gzip",
)


@dataclass(frozen=True)
class Image:
    """A multi-arch image in a layout on disk.

    directory  the OCI layout, with the tag TAG
    digest     of the index or manifest list
    children   digest of the manifest of each architecture
    """

    family: Family
    directory: Path
    digest: str
    children: Mapping[str, str]

    def blob(self, digest: str) -> bytes:
        """Bytes of a blob or manifest of the layout."""
        return (self.directory / "blobs" / "sha256" / digest.partition(":")[2]).read_bytes()

    def manifest(self, digest: str) -> dict[str, object]:
        """A manifest of the layout, parsed."""
        parsed: dict[str, object] = json.loads(self.blob(digest))
        return parsed


def build(directory: Path, family: Family) -> Image:
    """Write an image as an OCI layout into a directory that does not exist yet."""
    (directory / "blobs" / "sha256").mkdir(parents=True)
    big = layer_of({"data/big": random.Random(1).randbytes(BIG_BYTES)})  # noqa: S311
    manifests = [_manifest(directory, family, name, big) for name in ARCHITECTURES]
    index = {"schemaVersion": 2, "mediaType": family.index, "manifests": manifests}
    top = _put(directory, family.index, json.dumps(index).encode())
    named = {**top, "annotations": {"org.opencontainers.image.ref.name": TAG}}
    layout = {"schemaVersion": 2, "manifests": [named]}
    (directory / "index.json").write_text(json.dumps(layout))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    children = {name: str(m["digest"]) for name, m in zip(ARCHITECTURES, manifests, strict=True)}
    return Image(family, directory, str(top["digest"]), children)


def push(image: Image, url: str, repository: str, tag: str = TAG) -> None:
    """Push an image by plain requests. Raises: requests.HTTPError for any refusal."""
    with requests.Session() as session:
        for digest in image.children.values():
            manifest = image.manifest(digest)
            for part in (manifest["config"], *manifest["layers"]):  # type: ignore[misc]
                where = f"{url}/v2/{repository}/blobs/uploads/?digest={part['digest']}"
                _send(session, "POST", where, image.blob(part["digest"]))
            where = f"{url}/v2/{repository}/manifests/{digest}"
            _send(session, "PUT", where, image.blob(digest), image.family.manifest)
        where = f"{url}/v2/{repository}/manifests/{tag}"
        _send(session, "PUT", where, image.blob(image.digest), image.family.index)


def _manifest(
    directory: Path, family: Family, architecture: str, big: tuple[bytes, bytes]
) -> dict[str, object]:
    busybox = Path("/bin/busybox").read_bytes()
    small = layer_of({"bin/busybox": busybox, "bin/sh": busybox, "etc/arch": architecture.encode()})
    layers = [_put(directory, family.layer, packed) for _, packed in (small, big)]
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/busybox", "echo", "hello"]},
        "rootfs": {"type": "layers", "diff_ids": [_digest(raw) for raw, _ in (small, big)]},
        "history": [{"created_by": "tests"}, {"created_by": "tests"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": family.manifest,
        "config": _put(directory, family.config, json.dumps(config).encode()),
        "layers": layers,
    }
    placed = _put(directory, family.manifest, json.dumps(manifest).encode())
    return {**placed, "platform": {"architecture": architecture, "os": "linux"}}


def layer_of(files: Mapping[str, bytes]) -> tuple[bytes, bytes]:
    """A layer as tar and as tar.gz, without a trace of when it was made."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    raw = buffer.getvalue()
    return raw, gzip.compress(raw, compresslevel=1, mtime=0)


def _put(directory: Path, media_type: str, content: bytes) -> dict[str, object]:
    digest = _digest(content)
    (directory / "blobs" / "sha256" / digest.partition(":")[2]).write_bytes(content)
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _send(
    session: requests.Session, method: str, url: str, body: bytes, media_type: str = ""
) -> None:
    kind = media_type or "application/octet-stream"
    headers = {"Content-Type": kind, "Content-Length": str(len(body))}
    session.request(method, url, data=body, headers=headers, timeout=60).raise_for_status()
