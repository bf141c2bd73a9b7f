"""Writes an image as one tar that is an OCI layout and a docker archive at once.

containerd, k3s, RKE2 and skopeo read index.json and its full names; docker and podman read
manifest.json.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from layers import USER, Layer

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True, slots=True)
class Image:
    """What the image is called and what it is for. epoch: seconds since 1970 of all in it."""

    name: str
    version: str
    arch: str
    epoch: int

    @property
    def full_name(self) -> str:
        """As kubelet asks for it."""
        return f"{self.name}:{self.version}"


def write_archive(image: Image, layers: Sequence[Layer], output: Path) -> None:
    """Write the archive; it appears under its name when it is whole."""
    config = _json(_config(image, layers))
    manifest = _json(_manifest(config, layers))
    part = output.with_name(output.name + ".part")
    with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in {
            "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
            "index.json": _json(_index(image, manifest)),
            "manifest.json": _json(_docker(image, config, layers)),
            _path(_digest(config)): config,
            _path(_digest(manifest)): manifest,
        }.items():
            tar.addfile(_info(name, len(data), image.epoch), io.BytesIO(data))
        for layer in layers:
            with layer.path.open("rb") as file:
                info = _info(_path(layer.digest), layer.path.stat().st_size, image.epoch)
                tar.addfile(info, file)
    part.rename(output)


def _config(image: Image, layers: Sequence[Layer]) -> dict[str, Any]:
    created = datetime.fromtimestamp(image.epoch, UTC).isoformat().replace("+00:00", "Z")
    return {
        "created": created,
        "architecture": image.arch,
        "os": "linux",
        "config": {
            "User": f"{USER}:{USER}",
            "ExposedPorts": {"5000/tcp": {}},
            "Env": [
                "PATH=/usr/bin:/bin:/usr/sbin:/sbin",
                "PYTHONPATH=/opt/distserver",
                "PYTHONDONTWRITEBYTECODE=1",
                "DISTSERVER_LISTEN=0.0.0.0:5000",
            ],
            "Entrypoint": ["python3", "-m", "distserver"],
            "Cmd": ["serve"],
            "WorkingDir": "/var/lib/distserver",
            "Volumes": {"/var/lib/distserver": {}},
            "Labels": {
                "org.opencontainers.image.title": "distserver",
                "org.opencontainers.image.version": image.version,
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.diff_id}" for layer in layers]},
        "history": [
            {"created": created, "created_by": step} for step in ("Debian packages", "distserver")
        ],
    }


def _manifest(config: bytes, layers: Sequence[Layer]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(CONFIG, _digest(config), len(config)),
        "layers": [_descriptor(LAYER, one.digest, one.path.stat().st_size) for one in layers],
    }


def _index(image: Image, manifest: bytes) -> dict[str, Any]:
    described = _descriptor(MANIFEST, _digest(manifest), len(manifest))
    described["platform"] = {"architecture": image.arch, "os": "linux"}
    # containerd makes "import-<date>:<version>" of a bare tag; kubelet needs the full name.
    described["annotations"] = {
        "io.containerd.image.name": image.full_name,
        "org.opencontainers.image.ref.name": image.full_name,
    }
    return {"schemaVersion": 2, "manifests": [described]}


def _docker(image: Image, config: bytes, layers: Sequence[Layer]) -> list[dict[str, Any]]:
    paths = [_path(layer.digest) for layer in layers]
    return [{"Config": _path(_digest(config)), "RepoTags": [image.full_name], "Layers": paths}]


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def _info(name: str, size: int, epoch: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, epoch, 0o644
    return info


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
