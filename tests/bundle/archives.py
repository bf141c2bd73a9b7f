"""Archives as other tools write them, made in memory, and ones that nobody should write."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import zstandard

from tests.faults.images import CONFIG_TYPE, LAYER_TYPE, Image, digest_of, make_image
from tests.proxy.world import descriptor

Files = Mapping[str, bytes]
NAMED = "io.containerd.image.name"
PACKINGS: Mapping[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "pigz": lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]) + bytes(512),
    "zst": zstandard.compress,
    "pzstd": lambda data: b"\x50\x2a\x4d\x18\1\0\0\0x" + zstandard.compress(data),
}
REF = "org.opencontainers.image.ref.name"
__all__ = ["Image", "digest_of", "make_image"]


def blobs(*contents: bytes) -> dict[str, bytes]:
    """Contents as they lie in an OCI layout."""
    return {f"blobs/sha256/{digest_of(data)[7:]}": data for data in contents}


def entry(manifest: bytes, **annotations: str) -> dict[str, object]:
    """A line of an index.json; `__` in an annotation's key stands for "."."""
    marks = {key.replace("__", "."): text for key, text in annotations.items()}
    return {**descriptor(manifest, json.loads(manifest)["mediaType"]), "annotations": marks}


def layout(images: Mapping[str, Image], key: str = NAMED) -> dict[str, bytes]:
    """The files of an OCI layout of images by name."""
    listed = [{**entry(image.manifest), "annotations": {key: n}} for n, image in images.items()]
    found = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": index_json(*listed)}
    for image in images.values():
        found |= blobs(image.manifest, *image.blobs)
    return found


def index_json(*entries: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": entries}).encode()


def config(*layers: bytes) -> bytes:
    """A configuration over unpacked layers."""
    rootfs = {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()


def docker_save(*tags: str, layers: Iterable[bytes] = (b"one", b"two")) -> dict[str, bytes]:
    """The files of a docker-archive of one image, manifest.json last as docker has it."""
    layers = list(layers)
    body = config(*layers)
    names = [f"{hashlib.sha256(layer).hexdigest()}/layer.tar" for layer in layers]
    name = f"{hashlib.sha256(body).hexdigest()}.json"
    line = {"Config": name, "RepoTags": [*tags] or None, "Layers": names}
    files = dict(zip(names, layers, strict=True)) | {name: body}
    return files | {"manifest.json": json.dumps([line]).encode()}


def tar(files: Files, *more: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A tar archive of files, then of what else is given."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            add(archive, name, data)
        for item in more:
            info, data = item if isinstance(item, tuple) else (item, b"")
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A member that is no file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def write(root: Path, kind: str, files: Files) -> Path:
    """Write files as a kind: tar, one of PACKINGS, parts or directory; return the path."""
    packed = PACKINGS.get(kind, bytes)(tar(files))
    path = root / "archive"  # whose name tells nothing
    if kind == "directory":
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
        return path
    if kind == "parts":
        for number in range(0, len(packed), 1000):
            part = root / f"archive.{number // 1000 + 1:03d}"
            part.write_bytes(packed[number : number + 1000])
        return root / "archive.001"
    path.write_bytes(packed)
    return path


def multi_arch(*images: Image, missing: Iterable[Image] = ()) -> tuple[bytes, dict[str, bytes]]:
    """An index of images for several architectures, and the blobs it needs without the missing."""
    names = ("amd64", "arm64", "s390x")
    lines = [
        {**entry(image.manifest), "platform": {"os": "linux", "architecture": name}}
        for name, image in zip(names, (*images, *missing), strict=False)
    ]
    kind = "application/vnd.oci.image.index.v1+json"
    body = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": lines}).encode()
    found = blobs(body)
    for image in images:
        found |= blobs(image.manifest, *image.blobs)
    return body, found


def signature(subject: bytes, kind: str = "application/vnd.test.signature") -> Image:
    """A manifest that refers to another."""
    layer, body = b"signed " + subject[:9], b"{}"
    fields = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": kind,
        "config": descriptor(body, CONFIG_TYPE),
        "layers": [descriptor(layer, LAYER_TYPE)],
        "subject": descriptor(subject, json.loads(subject)["mediaType"]),
    }
    return Image(body, layer, json.dumps(fields).encode())


def read(path: Path) -> dict[str, bytes]:
    """All files of a bundle."""
    with tarfile.open(path) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]


def names(path: Path) -> dict[str, str]:
    """Digest by name of what containerd would take for images."""
    listed = json.loads(read(path)["index.json"])["manifests"]
    found = {}
    for line in listed:
        marks: Mapping[str, str] = line["annotations"]
        if NAMED in marks:
            assert marks[REF] == marks[NAMED]
            found[marks[NAMED]] = line["digest"]
    return found
