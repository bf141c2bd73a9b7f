"""Owns what a manifest means: its kind, what it refers to, and whether it can be accepted.

It reads and never writes: the bytes that were pushed are the bytes that are stored.
Spec: end-7; image-spec manifest.md, image-index.md, descriptor.md; Docker schema 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from distserver.oci import strictjson
from distserver.oci.digests import Digest
from distserver.oci.errors import DigestInvalid, ManifestInvalid, ManifestTooLarge

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
"""Largest manifest in bytes; clients read no larger ones (containerd, podman, oras)."""

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

_IMAGES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
_INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFESTS = _IMAGES | _INDEXES
"""Types of what is pulled as a manifest; other members of an index are blobs."""
_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+"

JsonObject = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content. size is in bytes, 0 <= size < 2**63."""

    media_type: str
    digest: Digest
    size: int
    artifact_type: str | None
    annotations: Mapping[str, str]
    urls: tuple[str, ...]
    platform: Mapping[str, object] | None

    @property
    def foreign(self) -> bool:
        """Whether the content may live elsewhere, so that a push need not bring it."""
        kind = self.media_type
        return bool(self.urls) or "nondistributable" in kind or ".foreign." in kind


@dataclass(frozen=True, slots=True)
class Manifest:
    """A parsed image manifest (config, layers) or index (manifests)."""

    media_type: str
    artifact_type: str | None
    annotations: Mapping[str, str]
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None

    @property
    def is_index(self) -> bool:
        """Whether this is an index or a manifest list."""
        return self.media_type in _INDEXES

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Config and layers that a push must find in the repository, so without foreign layers."""
        return tuple(item for item in self._own if not item.foreign)

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """The members of an index: manifests, and blobs in a BuildKit cache."""
        return self.manifests

    @property
    def references(self) -> tuple[Descriptor, ...]:
        """All content that this manifest keeps alive, foreign layers too; not the subject."""
        return self._own + self.manifests

    @property
    def referrer_type(self) -> str | None:
        """The artifactType in a list of referrers: its own, else the config's type (end-12)."""
        return self.artifact_type or (self.config.media_type if self.config else None)

    @property
    def _own(self) -> tuple[Descriptor, ...]:
        return ((self.config,) if self.config else ()) + self.layers


def parse_manifest(body: bytes, content_type: str | None) -> Manifest:
    """Return the meaning of a pushed manifest, which must mean the same to every reader.

        body          at most MAX_MANIFEST_BYTES
        content_type  the header; parameters are ignored; None or "" = the body's mediaType decides
    Raises: ManifestInvalid, ManifestTooLarge.
    """
    if len(body) > MAX_MANIFEST_BYTES:
        raise ManifestTooLarge(f"manifest is larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        value = strictjson.loads(body)
    except strictjson.JsonInvalid as exc:
        raise ManifestInvalid(str(exc)) from exc
    fields = _object(value, "manifest")
    _check_version(fields)
    media_type = _media_type(fields, content_type)
    _check_shape(fields, media_type)
    return Manifest(
        media_type=media_type,
        artifact_type=_text(fields, "artifactType"),
        annotations=_annotations(fields),
        config=_optional_descriptor(fields, "config"),
        layers=_descriptors(fields, "layers"),
        manifests=_descriptors(fields, "manifests"),
        subject=_optional_descriptor(fields, "subject"),
    )


def referrer_descriptor(manifest: Manifest, digest: Digest, size: int) -> dict[str, object]:
    """Return the JSON of one entry in a list of referrers. Spec: end-12.

    digest  of the manifest's bytes
    size    of the manifest in bytes
    """
    entry: dict[str, object] = {
        "mediaType": manifest.media_type,
        "digest": str(digest),
        "size": size,
    }
    if manifest.referrer_type:
        entry["artifactType"] = manifest.referrer_type
    if manifest.annotations:
        entry["annotations"] = dict(manifest.annotations)
    return entry


def _media_type(fields: JsonObject, content_type: str | None) -> str:
    """Return the one type that both the header and the body say, as readers trust either."""
    header = (content_type or "").partition(";")[0].strip().lower()
    inner = _text(fields, "mediaType")
    if header and inner and header != inner:
        raise ManifestInvalid("mediaType is not the Content-Type", {"mediaType": inner[:255]})
    kind = header or inner
    if not kind:
        raise ManifestInvalid("neither Content-Type nor mediaType says what this manifest is")
    if kind.startswith(_SCHEMA1):
        raise ManifestInvalid("Docker schema 1 manifests are not accepted")
    if kind not in _IMAGES | _INDEXES:
        raise ManifestInvalid("unknown manifest type", {"mediaType": kind[:255]})
    return kind


def _check_version(fields: JsonObject) -> None:
    version = fields.get("schemaVersion")
    if type(version) is not int or version != 2:
        raise ManifestInvalid("schemaVersion must be 2 (Docker schema 1 is not accepted)")


def _check_shape(fields: JsonObject, media_type: str) -> None:
    """Refuse what could pass for the other kind (GHSA-qq97-vm5h-rrhg)."""
    is_index = media_type in _INDEXES
    needed = "manifests" if is_index else "config"
    banned = ("layers", "config") if is_index else ("manifests",)
    if needed not in fields:
        raise ManifestInvalid(f"{needed} is missing")
    for key in banned:
        if fields.get(key) is not None:
            raise ManifestInvalid(f"{key} cannot be in a manifest of this type")


def _optional_descriptor(fields: JsonObject, key: str) -> Descriptor | None:
    value = fields.get(key)
    return None if value is None else _descriptor(value, key)


def _descriptors(fields: JsonObject, key: str) -> tuple[Descriptor, ...]:
    return tuple(_descriptor(item, f"{key}[{i}]") for i, item in enumerate(_list(fields, key)))


def _descriptor(value: object, where: str) -> Descriptor:
    """Return the descriptor that value is; unknown fields and media types are accepted."""
    fields = _object(value, where)
    media_type = _text(fields, "mediaType")
    if media_type is None:
        raise ManifestInvalid(f"{where}: mediaType is missing")
    platform = fields.get("platform")
    return Descriptor(
        media_type=media_type,
        digest=_digest(fields.get("digest"), where),
        size=_size(fields.get("size"), where),
        artifact_type=_text(fields, "artifactType"),
        annotations=_annotations(fields),
        urls=_urls(fields, where),
        platform=None if platform is None else _object(platform, f"{where}.platform"),
    )


def _digest(value: object, where: str) -> Digest:
    if not isinstance(value, str):
        raise ManifestInvalid(f"{where}: digest is missing or not a string")
    try:
        return Digest.parse(value)
    except DigestInvalid as exc:
        raise ManifestInvalid(f"{where}: {exc.message}", exc.detail) from exc


def _size(value: object, where: str) -> int:
    if type(value) is not int or not 0 <= value < 2**63:  # True is an int to isinstance
        raise ManifestInvalid(f"{where}: size must be an integer from 0 to 2^63-1")
    return value


def _urls(fields: JsonObject, where: str) -> tuple[str, ...]:
    urls = [url for url in _list(fields, "urls") if isinstance(url, str)]
    if len(urls) != len(_list(fields, "urls")):
        raise ManifestInvalid(f"{where}: urls must be strings")
    return tuple(urls)


def _annotations(fields: JsonObject) -> dict[str, str]:
    value = fields.get("annotations")
    if value is None:
        return {}
    pairs = _object(value, "annotations")
    texts = {key: text for key, text in pairs.items() if isinstance(text, str)}
    if len(texts) != len(pairs):
        raise ManifestInvalid("annotations must be strings")
    return texts


def _object(value: object, where: str) -> JsonObject:
    if not isinstance(value, dict):
        raise ManifestInvalid(f"{where} must be a JSON object")
    return value


def _list(fields: JsonObject, key: str) -> list[object]:
    """Return an array; Go writes an empty one as null."""
    value = fields.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ManifestInvalid(f"{key} must be an array")
    return value


def _text(fields: JsonObject, key: str) -> str | None:
    """Return a string; Go writes an absent one as "" or null."""
    value = fields.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ManifestInvalid(f"{key} must be a string")
    return value
