"""Whether images can start from what is held: those of a list, and kubelet's pause image."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path

from backends.errors import Corrupt, StorageError
from distserver.bundle.images import Image, parse_image
from distserver.bundle.lock import split_line
from distserver.nodes.doctor.archives import Archives, archives
from distserver.nodes.doctor.facts import FOLDERS, Facts, Needed
from distserver.nodes.doctor.findings import Finding, ok, stop, warn
from distserver.nodes.doctor.storage import opened
from distserver.nodes.node import Node, NodeError
from distserver.nodes.runtimes.containerd_config import FILE, read_config
from distserver.oci.errors import ManifestUnknown, RegistryError
from distserver.oci.manifests import Manifest, parse_manifest
from distserver.proxy.completion import members
from distserver.registry import Registry, local_registry

CONFIGS = (
    FILE,
    "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
    "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
)
DATABASES = (
    "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db",
    "/var/lib/rancher/k3s/agent/containerd/io.containerd.metadata.v1.bolt/meta.db",
    "/var/lib/rancher/rke2/agent/containerd/io.containerd.metadata.v1.bolt/meta.db",
)
MEND = "distserver preload, or push it, while there is a network"


def needed(facts: Facts) -> Iterator[Finding]:
    """Each image of the list is here, whole, for its platforms."""
    whole = 0
    for one in facts.needed:
        problems = lacking(one, facts)
        whole += not problems
        for problem in problems:
            yield stop(f"{one.image}: {problem}", "what needs it does not start", MEND)
    if whole:
        yield ok(f"{whole} of {len(facts.needed)} needed images are held whole")


def lacking(one: Needed, facts: Facts) -> list[str]:
    """Return what is wrong with an image in the storage; empty = it can start."""
    platforms = one.platforms or facts.config.platforms or (facts.platform,)
    try:
        registry = local_registry(opened(facts, *facts.config.storage))
        return list(_lacking(registry, one.image, platforms))
    except (StorageError, RegistryError) as exc:
        return [str(exc)]


def _lacking(registry: Registry, image: Image, platforms: Iterable[str]) -> Iterator[str]:
    try:
        stored = registry.manifests.held(image.name, image.reference)
    except ManifestUnknown:
        yield "it is not held"
        return
    if image.tag and image.digest and _tagged(registry, image) != str(image.digest):
        yield f"the tag {image.tag} names another digest here, or nothing"
    manifest = parse_manifest(stored.data, stored.media_type)
    if not manifest.is_index:
        yield from _parts(registry, image.name, manifest, "")
        return
    for platform in platforms:
        yield from _for_platform(registry, image.name, manifest, platform)


def _for_platform(registry: Registry, name: str, index: Manifest, platform: str) -> Iterator[str]:
    found = members(index, [platform])
    if not found:
        yield f"it has nothing for {platform}"
    for member in found[:1]:
        try:
            stored = registry.manifests.held(name, member.digest)
        except (ManifestUnknown, Corrupt):
            yield f"its manifest for {platform} is not held"
            continue
        manifest = parse_manifest(stored.data, stored.media_type)
        yield from _parts(registry, name, manifest, f" for {platform}")


def _parts(registry: Registry, name: str, manifest: Manifest, where: str) -> Iterator[str]:
    missing = [blob for blob in manifest.blobs if not registry.blobs.has(name, blob.digest)]
    if missing:
        size = sum(blob.size for blob in missing)
        count = f"{len(missing)} of {len(manifest.blobs)} parts{where} are not held"
        yield f"{count}, {size / (1 << 20):.1f} MiB"


def _tagged(registry: Registry, image: Image) -> str:
    try:
        return str(registry.manifests.held(image.name, image.tag or image.reference).digest)
    except ManifestUnknown:
        return ""


def pause(facts: Facts) -> Iterator[Finding]:
    """Every pod needs the pause image first, the server's own pod too."""
    for file in CONFIGS if facts.kubelet else ():
        config = read_config(facts.node, file)
        if config.pause:
            yield _pause(config.pause, facts)
        elif config.there and file == FILE:
            yield warn(
                f"{file} names no pause image",
                "each version of containerd has another one built in: it is easily not preloaded",
                "name it: sandbox_image (containerd 1), pinned_images.sandbox (containerd 2)",
            )


def _pause(name: str, facts: Facts) -> Finding:
    image = parse_image(name, facts.upstreams, facts.own)
    why = f"no pod starts without the pause image {name}, ours neither"
    found = archives(facts.node)
    if image in _images(found, facts):
        return ok(f"the pause image {name} is imported at boot")
    if facts.unit_enabled and not lacking(Needed(image), facts):
        return ok(f"the pause image {name} is held")
    if found.packed:
        what = f"the pause image {name} may be in {', '.join(found.packed)}: packed, not looked at"
        return warn(what, why, "look into it, or put the image there as a plain .tar")
    if _known(facts.node, str(image) if image.name.startswith("docker.io/") else name):
        return warn(
            f"the pause image {name} is in containerd's store at best",
            f"{why}; kubelet removes it when the disk runs full",
            f"ctr -n k8s.io images ls name=={name}; {MEND}",
        )
    return stop(
        f"the pause image {name} is nowhere on this node",
        why,
        f"distserver save {name} -o pause.tar, into {FOLDERS[-1]} or the folder of k3s or RKE2",
    )


def _images(found: Archives, facts: Facts) -> Iterator[Image]:
    upstreams = facts.upstreams
    for name in found.names:
        # A name that is none, or of a registry that is no upstream, is not the one we look for.
        with contextlib.suppress(RegistryError):
            yield parse_image(name, upstreams, facts.own)


def _known(node: Node, name: str) -> bool:
    """Whether containerd's database may have an image; False is certain, True is not.

    Names stand in it as they are, but what was removed stays in free pages for a while.
    """
    return any(_contains(node.path(path), name.encode()) for path in DATABASES)


def _contains(path: Path, text: bytes) -> bool:
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(text) >= 0


def read_needed(lines: Iterable[str], facts: Facts) -> Iterator[Needed]:
    """Read a list: an image a line, platforms behind it, comments; or a lock file.

    Raises: NodeError that names the line.
    """
    upstreams = facts.upstreams
    for line in lines:
        text = line.partition("#")[0].strip()
        if locked := split_line(text):
            name, platforms, _ = locked
        elif text:
            name, *rest = text.split()
            platforms = tuple(rest)
        else:
            continue
        try:
            yield Needed(parse_image(name, upstreams, facts.own), platforms)
        except RegistryError as exc:
            raise NodeError(f"{line.strip()!r} is no image: {exc.message}") from exc
