"""docker-archives, as `docker save` writes them: layers as tar, listed by a manifest.json.

The manifests of the registry that an image came from are not in it, so one is made over what is
there: the same each time, but with another digest than the registry's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distserver.bundle.errors import BundleError, shown
from distserver.bundle.images import Image
from distserver.bundle.loading.archive import DOCKER, Archive, Survey
from distserver.bundle.loading.bringing import Bringer
from distserver.bundle.loading.streams import PIECE_BYTES, Gunzip
from distserver.bundle.naming import Naming
from distserver.oci import strictjson
from distserver.oci.digests import Digest
from distserver.oci.errors import DigestInvalid
from distserver.oci.manifests import DOCKER_MANIFEST
from distserver.registry import Registry

CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar"
_HEX = re.compile(r"(?:.*[/:])?([0-9a-f]{64})(?:\.json)?")
_PACKED = re.compile(r"([0-9a-f]{64})\.tar\.gz")


@dataclass(frozen=True, slots=True)
class Saved:
    """An image as manifest.json lists it.

    config  name of the file with its configuration
    layers  names of the files of its layers, the lowest first
    tags    HOST/NAME:TAG, may be none
    """

    config: str
    layers: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer that is held: its digest, its size, and whether it is packed."""

    digest: Digest
    size: int
    packed: bool


def read_images(manifest: bytes) -> list[Saved]:
    """Return what a manifest.json lists. Raises: BundleError."""
    try:
        listed = strictjson.loads(manifest)
        found = [_saved(item) for item in _list(listed)]
    except (strictjson.JsonInvalid, TypeError, KeyError) as exc:
        raise BundleError(f"{DOCKER} is not one of docker ({exc})") from exc
    if not found:
        raise BundleError(f"{DOCKER} lists no image")
    return found


def place(image: Saved, naming: Naming, alone: bool) -> list[Image]:
    """Return where an image goes. Raises: BundleError where it has no name."""
    named = map(naming.image, image.tags)
    return [Image(each.name, each.tag) for each in named] or [naming.unnamed("", alone)]


def bring(
    archive: Archive, survey: Survey, images: Sequence[Saved], registry: Registry, bringer: Bringer
) -> list[Digest]:
    """Bring all images; return the digests of the manifests that were made for them.

    Raises: BundleError, OSError, Full, Unavailable.
    """
    configs = archive.read({survey.resolve(image.config) for image in images})
    wanted: dict[str, Digest] = {}
    for image in images:
        config = configs[survey.resolve(image.config)]
        _check_config(image.config, config)
        for name, digest in zip(image.layers, _diff_ids(image, config), strict=True):
            wanted[survey.resolve(name)] = digest
    bringer.require_room({digest: survey.sizes[name] for name, digest in wanted.items()})
    layers = _bring_layers(archive, wanted, registry, bringer)
    made = []
    for image in images:
        config = configs[survey.resolve(image.config)]
        over = [layers[survey.resolve(name)] for name in image.layers]
        manifest = render_manifest(config, over)
        for small in (config, manifest):
            bringer.bring(Digest.of(small), len(small), [small])
        made.append(Digest.of(manifest))
    return made


def manifests(archive: Archive, survey: Survey, digests: Mapping[str, Digest]) -> list[bytes]:
    """Return the manifests that bring() makes, without bringing anything.

        digests  of the files of layers, by name; an image with others is left out
    Raises: BundleError, OSError.
    """
    images = read_images(archive.read({DOCKER})[DOCKER])
    configs = archive.read({survey.resolve(image.config) for image in images})
    made = []
    for image in images:
        config = configs[survey.resolve(image.config)]
        names = [survey.resolve(name) for name in image.layers]
        if digests.keys() >= set(names):
            over = zip(names, _diff_ids(image, config), strict=True)
            layers = [_Layer(digests[n], survey.sizes[n], digests[n] != plain) for n, plain in over]
            made.append(render_manifest(config, layers))
    return made


def render_manifest(config: bytes, layers: Sequence[_Layer]) -> bytes:
    """Return the manifest over a configuration and layers as they are. Pure."""
    fields = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": _descriptor(CONFIG_TYPE, Digest.of(config), len(config)),
        "layers": [
            _descriptor(LAYER_TYPE + (".gzip" if layer.packed else ""), layer.digest, layer.size)
            for layer in layers
        ],
    }
    return json.dumps(fields, separators=(",", ":")).encode()


def _descriptor(media_type: str, digest: Digest, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "size": size, "digest": str(digest)}


def _bring_layers(
    archive: Archive, wanted: Mapping[str, Digest], registry: Registry, bringer: Bringer
) -> dict[str, _Layer]:
    found: dict[str, _Layer] = {}
    with archive.members() as members:
        for member in members:
            expected = wanted.get(member.name)
            if expected is None or member.target:
                continue
            candidates = filter(None, (expected, _named_digest(member.name)))
            digest = next((d for d in candidates if bringer.holds(d, member.size)), None)
            if digest:
                bringer.bring(digest, member.size, ())
            else:
                digest = bringer.add(member.pieces())
            if digest != expected:
                _check_packed(registry, member.name, digest, expected)
            found[member.name] = _Layer(digest, member.size, digest != expected)
    if len(found) < len(wanted):
        raise BundleError("it has changed while it was read")
    return found


def _named_digest(name: str) -> Digest | None:
    """The digest of a packed layer that crane's names tell; whether it is one is checked."""
    match = _PACKED.fullmatch(name)
    return Digest("sha256", match[1]) if match else None


def _check_packed(registry: Registry, name: str, digest: Digest, expected: Digest) -> None:
    """Require that what is stored unpacks to what the configuration says. Raises: BundleError.

    Blocks on: unpacking all of it; gzip makes a byte into a thousand at most.
    """
    wrong = f"{shown(name)} is not the layer that the image has there"
    unpacked = expected.hasher()
    with registry.content.open(digest) as reader:
        packed = Gunzip(reader.read)
        try:
            for data in iter(lambda: packed.read(PIECE_BYTES), b""):
                unpacked.update(data)
        except BundleError as exc:
            raise BundleError(wrong) from exc
    if unpacked.hexdigest() != expected.hex:
        raise BundleError(wrong)


def _check_config(name: str, config: bytes) -> None:
    """A name with a digest in it is the image's id, which is that of its configuration."""
    match = _HEX.fullmatch(name)
    if match and match[1] != Digest.of(config).hex:
        raise BundleError(f"{shown(name)} is damaged: it has another digest")


def _diff_ids(image: Saved, config: bytes) -> list[Digest]:
    """Return the digests of the unpacked layers, as many as there are. Raises: BundleError."""
    try:
        rootfs = _dict(_dict(strictjson.loads(config)).get("rootfs") or {})
        found = [Digest.parse(_text(text)) for text in _list(rootfs.get("diff_ids") or [])]
    except (strictjson.JsonInvalid, TypeError, DigestInvalid) as exc:
        raise BundleError(f"{shown(image.config)} is no configuration of an image ({exc})") from exc
    if len(found) != len(image.layers):
        raise BundleError(f"{shown(image.config)} has {len(found)} layers, {DOCKER} lists others")
    return found


def _saved(value: object) -> Saved:
    item = _dict(value)
    layers, tags = _list(item.get("Layers") or []), _list(item.get("RepoTags") or [])
    return Saved(_text(item["Config"]), tuple(map(_text, layers)), tuple(map(_text, tags)))


def _dict(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("an object is missing")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("a list is missing")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is missing")
    return value
