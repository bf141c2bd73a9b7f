"""What a cluster needs: a dozen images of all shapes, made from a seed, in memory.

Most have amd64 and arm64. One has arm/v7 as well, one brings attestations, one is a single
manifest, one is signed in cosign's way, one has a referrer. All share a layer that runs.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.clients.containerd import Containerd
from tests.components.images import layer_of
from tests.upstreams.images import (
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    descriptor,
    digest_of,
    document,
    push_all,
)

BUSYBOX = Path("/bin/busybox")
TAG = "v1"
PLATFORMS = ("linux/amd64", "linux/arm64")
REGISTRIES = ("docker.io", "quay.io", "registry.k8s.io")


@dataclass
class FleetImage:
    """An image of the fleet.

    name       as a pod names it, without its tag: quay.io/fleet/app-2
    manifests  reference, media type, bytes; the one that the tag names is the last
    members    manifest of each platform
    extra      digests that come along: signatures, referrers, attestations
    """

    name: str
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: list[tuple[str, str, bytes]] = field(default_factory=list)
    members: dict[str, bytes] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)

    @property
    def repository(self) -> str:
        """Its name at its registry."""
        return self.name.partition("/")[2]

    @property
    def digest(self) -> str:
        """What its tag names."""
        return next(digest_of(data) for ref, _, data in self.manifests if ref == TAG)

    @property
    def names(self) -> tuple[str, str]:
        """As pods name it: by tag, and by digest."""
        return f"{self.name}:{TAG}", f"{self.name}@{self.digest}"

    def push(self, url: str) -> None:
        """Push it to a registry. Raises: requests.HTTPError."""
        push_all(f"{url}/v2/{self.repository}", self.blobs.values(), self.manifests)

    def pull(self, node: Containerd, by: str) -> float:
        """Let a node pull it by a name of `names`; return the seconds that this took."""
        begin = time.monotonic()
        assert f"{self.name}@{self.digest}" in node.pulled(by)
        return time.monotonic() - begin

    def blob(self, data: bytes, kind: str) -> dict[str, object]:
        """Add a blob; return its descriptor."""
        self.blobs[digest_of(data)] = data
        return descriptor(kind, data)

    def manifest(self, reference: str, kind: str, **fields: object) -> bytes:
        """Add a manifest under a reference, "" = its digest."""
        data = document(kind, **fields)
        self.manifests.append((reference or digest_of(data), kind, data))
        return data

    def artifact(self, text: str, reference: str = "", **fields: object) -> bytes:
        """Add a manifest of one small layer that speaks of the image."""
        layer, config = self.blob(text.encode(), "text/plain"), self.blob(b"{}", CONFIG)
        made = self.manifest(reference, MANIFEST, config=config, layers=[layer], **fields)
        self.extra.append(digest_of(made))
        return made

    def member(
        self,
        platform: str,
        size: int,
        base: tuple[bytes, bytes],
        reference: str,
        command: Sequence[str] = ("echo", "hello"),
    ) -> None:
        """Add the image of one platform, with size bytes of its own above the base."""
        seed = f"{self.name} {platform}"
        own = layer_of({f"data/{size}": random.Random(seed).randbytes(size)})
        architecture, _, variant = platform.removeprefix("linux/").partition("/")
        config = {
            "architecture": architecture,
            **({"variant": variant} if variant else {}),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Env": [f"SEED={seed}"], "Cmd": ["/bin/busybox", *command]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(raw) for raw, _ in (base, own)]},
            "history": [{"created_by": "drill"}, {"created_by": "drill"}],
        }
        described = self.blob(json.dumps(config).encode(), CONFIG)
        layers = [self.blob(packed, LAYER) for _, packed in (base, own)]
        made = self.manifest(reference, MANIFEST, config=described, layers=layers)
        self.members[platform] = made

    def index(self, attested: bool = False) -> None:
        """Add the index of the members, and let the tag name it."""
        entries = [
            {**descriptor(MANIFEST, data), "platform": _platform(platform)}
            for platform, data in self.members.items()
        ]
        for data in self.members.values() if attested else ():
            subject = digest_of(data)
            note = self.artifact(f"provenance of {subject}", annotations={"of": subject})
            unknown = {"architecture": "unknown", "os": "unknown"}
            marks = {"vnd.docker.reference.digest": subject}
            entry = {**descriptor(MANIFEST, note), "platform": unknown, "annotations": marks}
            entries.append(entry)
        self.manifest(TAG, INDEX, manifests=entries)


def make_fleet(size: int, count: int = 12) -> list[FleetImage]:
    """Make the images; each platform of each has size bytes of its own."""
    base = layer_of({"bin/busybox": BUSYBOX.read_bytes(), "bin/sh": BUSYBOX.read_bytes()})
    fleet = [FleetImage(f"{REGISTRIES[i % len(REGISTRIES)]}/fleet/app-{i}") for i in range(count)]
    for number, image in enumerate(fleet):
        single, more = number == 2, ("linux/arm/v7",) if number == 1 else ()
        for platform in PLATFORMS[:1] if single else (*PLATFORMS, *more):
            image.member(platform, size, base, TAG if single else "")
        if not single:
            image.index(attested=number == 3)
    fleet[4].artifact("signature", fleet[4].digest.replace(":", "-") + ".sig")
    subject = next(data for ref, _, data in fleet[5].manifests if ref == TAG)
    sbom = fleet[5].artifact("sbom", subject=descriptor(INDEX, subject))
    # As clients push it to a registry without the API of referrers.
    fallback = digest_of(subject).replace(":", "-")
    fleet[5].manifest(fallback, INDEX, manifests=[descriptor(MANIFEST, sbom)])
    return fleet


def _platform(text: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False))
