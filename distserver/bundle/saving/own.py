"""Our own image in the storage: a node that shall run us as a pod needs it before we can serve."""

from __future__ import annotations

import json
from collections.abc import Mapping

from distserver import __version__
from distserver.bundle.errors import BundleError
from distserver.bundle.images import Image
from distserver.bundle.saving.contents import platform_of
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestUnknown
from distserver.oci.manifests import MAX_MANIFEST_BYTES, parse_manifest
from distserver.oci.names import Tag
from distserver.registry import Registry

REPOSITORY = "distserver"
OWN_IMAGE = f"distserver.internal/{REPOSITORY}:{__version__}"


def file_name(architecture: str) -> str:
    """Return what the archive of our image for an architecture is called."""
    return f"distserver-{__version__}-{architecture}.tar"


def find_own(registry: Registry, architecture: str) -> Image:
    """Return our image for an architecture: its tag, and the digest of a manifest that is no index.

    An archive of just that is the same for all who import it, whatever they do with indexes.
    Raises: BundleError (it is not held, or for others only), Unavailable, Corrupt.
    """
    held = _held(registry)
    if not held:
        raise BundleError(
            f"{OWN_IMAGE} is not held here. `make image` in our source, where there is a network, "
            f"makes {file_name(architecture)}: nodes import that file as it is, and "
            f"`distserver load {file_name(architecture)}` keeps it here"
        )
    if architecture not in held:
        raise BundleError(
            f"{OWN_IMAGE} is held for {', '.join(sorted(held))}, not for {architecture}: "
            f"say --arch {min(held)} if the nodes are of that kind"
        )
    return Image(REPOSITORY, Tag(__version__), held[architecture])


def _held(registry: Registry) -> Mapping[str, Digest]:
    """Return the manifest of our image by architecture."""
    try:
        stored = registry.manifests.get(REPOSITORY, Tag(__version__))
    except ManifestUnknown:
        return {}
    manifest = parse_manifest(stored.data, stored.media_type)
    if manifest.config:
        return {_architecture(registry, manifest.config.digest): stored.digest}
    platforms = ((platform_of(child).split("/"), child.digest) for child in manifest.children)
    return {platform[1]: digest for platform, digest in platforms if platform[0] == "linux"}


def _architecture(registry: Registry, config: Digest) -> str:
    """Return what an image's configuration says. Raises: BundleError, Unavailable, Corrupt."""
    with registry.content.open(config) as reader:
        data = reader.read(MAX_MANIFEST_BYTES)
    try:
        return str(json.loads(data)["architecture"])
    except (ValueError, LookupError, TypeError) as exc:
        raise BundleError(f"{OWN_IMAGE} does not say for which architecture it is") from exc
