"""What is measured: the image that every peer holds, and the work that is asked of each."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.bench.load import (
    ACCEPT,
    digest_of,
    fresh_body,
    heads,
    pull,
    push,
    push_blob,
    put_manifest,
    wrk,
)
from tests.bench.peers import Peer

REPOSITORY, TAG = "bench/image", "latest"
_PATH = f"/v2/{REPOSITORY}"


@dataclass(frozen=True)
class Sizes:
    """How much work: seconds of a small-answer sample, bytes of the large bodies, images.

    fanned    bytes of the blob of a cold fan-out
    outage    seconds that a held tag is asked for, by each of askers' numbers of clients
    patience  seconds that such a client, and a start, waits for an answer
    """

    seconds: float = 4
    large: int = 1 << 30
    streamed: int = 256 << 20
    pushed: int = 64 << 20
    images: int = 2000
    rounds: int = 3
    connections: tuple[int, ...] = (1, 16, 64, 256)
    fanned: int = 128 << 20
    outage: float = 8
    askers: tuple[int, ...] = (1, 16)
    patience: float = 35


QUICK = Sizes(1, 256 << 20, 64 << 20, 32 << 20, 50, 1, (16,), 32 << 20, 0.3, (16,), 1)


@dataclass(frozen=True)
class Sample:
    """One measurement: amount a second of wall time and CPU seconds an amount, p99 in ms."""

    rate: float
    cpu: float
    p99: float | None = None


@dataclass(frozen=True)
class Scenario:
    """A name, the unit of its amount, its work (returns amount and p99), and if it pushes."""

    name: str
    unit: str
    work: Callable[[Peer], tuple[float, float | None]]
    pushes: bool = False

    def sample(self, peer: Peer) -> Sample:
        """Do the work once against a peer."""
        cpu, begin = peer.cpu_seconds(), time.monotonic()
        amount, p99 = self.work(peer)
        seconds = time.monotonic() - begin
        return Sample(amount / seconds, (peer.cpu_seconds() - cpu) / amount, p99)


@dataclass(frozen=True)
class Image:
    """The bodies that every peer holds: digests by name, and the manifest."""

    blobs: dict[str, str]
    manifest: bytes

    @property
    def digest(self) -> str:
        """Digest of the manifest."""
        return digest_of(self.manifest)


def seed(peers: list[Peer], sizes: Sizes) -> Image:
    """Put one image into every peer and read it once from each."""
    blobs = {}
    sized = {"10 KB": 10_000, "1 MB": 1 << 20, "large": sizes.large, "streamed": sizes.streamed}
    for name, size in sized.items():
        body, digest = fresh_body(size) if size >= 1 << 20 else _small(size)
        blobs[name] = digest
        for peer in peers:
            _give_blob(peer, body, digest)
    image = Image(blobs, manifest_of([(digest, sized[name]) for name, digest in blobs.items()]))
    for peer in peers:
        _give_manifest(peer, image)
        for name, size in sized.items():
            # the first read of a blob may check it: what is measured is the reads after
            pull(peer.port, _blob(image, name), 1, size)
    return image


def manifest_of(blobs: list[tuple[str, int]]) -> bytes:
    """Return an image manifest whose config is the first blob (digest, size), the rest layers."""
    kind = "application/vnd.oci.image.layer.v1.tar"
    parts = [{"mediaType": kind, "digest": digest, "size": size} for digest, size in blobs]
    document = {"schemaVersion": 2, "mediaType": ACCEPT, "config": parts[0], "layers": parts[1:]}
    return json.dumps(document).encode()


def fill(peer: Peer, images: int) -> None:
    """Push many images of one small blob each, in a repository for every hundred."""
    for number in range(images):
        repository = f"many/r{number // 100}"
        body, digest = _small(1000)
        push_blob(peer.port, repository, body, digest)
        put_manifest(peer.port, repository, f"t{number}", manifest_of([(digest, 1000)]))


def scenarios(image: Image, sizes: Sizes) -> list[Scenario]:
    """Return every scenario but start-up."""
    by_tag, by_digest = f"{_PATH}/manifests/{TAG}", f"{_PATH}/manifests/{image.digest}"
    small = [(f"manifest GET by tag, c={count}", by_tag, count) for count in sizes.connections]
    small.append(("manifest GET by digest, c=16", by_digest, 16))
    small += [(f"blob {size}, c=16", _blob(image, size), 16) for size in ("10 KB", "1 MB")]
    found = [
        Scenario(name, "req", partial(_wrk, path, count, sizes)) for name, path, count in small
    ]
    for name, path in (("tag", by_tag), ("digest", by_digest)):
        found.append(Scenario(f"manifest HEAD by {name}, c=1", "req", partial(_heads, path, sizes)))
    for name, streams, size in (("large", 1, sizes.large), ("streamed", 8, sizes.streamed)):
        title = f"blob {size >> 20} MB, {streams} stream{'s' if streams > 1 else ''}"
        found.append(Scenario(title, "GB", partial(_pull, _blob(image, name), streams, size)))
    return found + pushes(sizes)


def pushes(sizes: Sizes) -> list[Scenario]:
    """Return the scenarios that push large blobs, of content that is new."""
    found = []
    for clients in (1, 4):
        for chunked in (False, True):
            title = f"push {sizes.pushed >> 20} MB {'chunked' if chunked else 'whole'}, {clients}"
            bodies = [fresh_body(sizes.pushed) for _ in range(clients)]
            work = partial(_push, bodies, chunked)
            found.append(Scenario(title + " at once", "GB", work, pushes=True))
    return found


def _blob(image: Image, name: str) -> str:
    return f"{_PATH}/blobs/{image.blobs[name]}"


def _wrk(path: str, connections: int, sizes: Sizes, peer: Peer) -> tuple[float, float | None]:
    return wrk(peer.url + path, connections, sizes.seconds)


def _heads(path: str, sizes: Sizes, peer: Peer) -> tuple[float, float | None]:
    return heads(peer.port, path, sizes.seconds / 2), None


def _pull(path: str, streams: int, size: int, peer: Peer) -> tuple[float, float | None]:
    return pull(peer.port, path, streams, size) / 1e9, None


def _push(bodies: list[tuple[bytes, str]], chunked: bool, peer: Peer) -> tuple[float, float | None]:
    # a repository that never was: the same bytes pushed again must still be read and hashed
    repository = f"bench/push{os.urandom(6).hex()}"
    return push(peer.port, repository, bodies, chunked) / 1e9, None


def _small(size: int) -> tuple[bytes, str]:
    body = os.urandom(size)
    return body, digest_of(body)


def _give_blob(peer: Peer, body: bytes, digest: str) -> None:
    if peer.root is None:
        push_blob(peer.port, REPOSITORY, body, digest)
        return
    path = peer.root / _PATH[1:] / "blobs" / digest
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)


def _give_manifest(peer: Peer, image: Image) -> None:
    if peer.root is None:
        put_manifest(peer.port, REPOSITORY, TAG, image.manifest)
        return
    folder = peer.root / _PATH[1:] / "manifests"
    folder.mkdir(parents=True)
    for name in (TAG, image.digest):
        (folder / name).write_bytes(image.manifest)
