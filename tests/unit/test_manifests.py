"""What a manifest means, and which are refused because two readers might disagree."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestInvalid, ManifestTooLarge
from distserver.oci.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MAX_MANIFEST_BYTES,
    OCI_INDEX,
    OCI_MANIFEST,
    parse_manifest,
    referrer_descriptor,
)

D = str(Digest.of(b"x"))


def item(**more: object) -> dict[str, object]:
    return {"mediaType": "application/x", "digest": D, "size": 1, **more}


def image(**more: object) -> bytes:
    value = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": item(), "layers": [item()]}
    return json.dumps({**value, **more}).encode()


def index(**more: object) -> bytes:
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [item()]}
    return json.dumps({**value, **more}).encode()


@pytest.mark.parametrize("kind", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_images(kind: str) -> None:
    manifest = parse_manifest(image(mediaType=kind), kind)
    assert (manifest.media_type, manifest.is_index) == (kind, False)
    assert len(manifest.blobs) == len(manifest.references) == 2


@pytest.mark.parametrize("kind", [OCI_INDEX, DOCKER_LIST])
def test_indexes(kind: str) -> None:
    manifest = parse_manifest(index(mediaType=kind), None)
    assert manifest.is_index
    assert [str(child.digest) for child in manifest.children] == [D]
    assert manifest.blobs == ()


def test_the_header_decides_where_the_body_says_nothing() -> None:
    manifest = parse_manifest(image(mediaType=""), OCI_MANIFEST.upper() + "; charset=utf-8")
    assert manifest.media_type == OCI_MANIFEST


@pytest.mark.parametrize("more", [{"urls": ["https://x"]}, {"mediaType": "a.foreign.diff"}])
def test_foreign_layers_need_not_be_here(more: dict[str, object]) -> None:
    manifest = parse_manifest(image(layers=[item(**more)]), None)
    assert len(manifest.blobs) == 1
    assert len(manifest.references) == 2


def test_nulls_of_go_are_absent() -> None:
    manifest = parse_manifest(image(layers=None, subject=None, annotations=None), None)
    assert (manifest.layers, manifest.subject, manifest.annotations) == ((), None, {})


def test_a_referrer_is_described_by_its_type_or_its_config() -> None:
    plain = parse_manifest(image(annotations={"a": "b"}, subject=item()), None)
    entry = referrer_descriptor(plain, Digest.of(b"y"), 7)
    assert (entry["artifactType"], entry["size"], entry["annotations"]) == (
        "application/x",
        7,
        {"a": "b"},
    )
    typed = parse_manifest(image(artifactType="application/y"), None)
    assert typed.referrer_type == "application/y"


BAD: list[tuple[bytes, str | None]] = [
    (image(), OCI_INDEX),
    (image(mediaType=None), None),
    (image(mediaType="application/json"), None),
    (image(mediaType="application/vnd.docker.distribution.manifest.v1+json"), None),
    (image(schemaVersion=1), None),
    (image(schemaVersion="2"), None),
    (image(schemaVersion=2.0), None),
    (image(schemaVersion=True), None),
    (image(manifests=[]), None),
    (index(layers=[]), None),
    (index(config=item()), None),
    (index(manifests={}), None),
    (image(config=None, layers=[]).replace(b'"config": null, ', b""), None),
    (image(config=[]), None),
    (image(layers={}), None),
    (image(layers=[1]), None),
    (image(layers=[item(size=-1)]), None),
    (image(layers=[item(size=1.0)]), None),
    (image(layers=[item(size=True)]), None),
    (image(layers=[item(size="1")]), None),
    (image(layers=[item(size=2**63)]), None),
    (image(layers=[item(digest="sha256:x")]), None),
    (image(layers=[item(digest=None)]), None),
    (image(layers=[item(mediaType="")]), None),
    (image(layers=[item(urls=[1])]), None),
    (image(layers=[item(platform=1)]), None),
    (image(annotations={"a": 1}), None),
    (image(annotations=[]), None),
    (image(subject="x"), None),
    (b"[]", OCI_MANIFEST),
    (b'{"schemaVersion": 2, "schemaVersion": 2}', OCI_MANIFEST),
    (image().decode().encode("utf-16"), OCI_MANIFEST),
]


@pytest.mark.parametrize(("body", "kind"), BAD)
def test_refused(body: bytes, kind: str | None) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        parse_manifest(body, kind)
    assert caught.value.status == 400


def test_too_large_is_said_before_it_is_parsed() -> None:
    with pytest.raises(ManifestTooLarge) as caught:
        parse_manifest(b"[" * (MAX_MANIFEST_BYTES + 1), OCI_MANIFEST)
    assert caught.value.status == 413


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just([{}])


@given(st.dictionaries(st.sampled_from(["config", "layers", "size", "subject"]), VALUES))
def test_any_fields_are_a_manifest_or_a_refusal(more: dict[str, Any]) -> None:
    try:
        assert parse_manifest(image(**more), None).media_type == OCI_MANIFEST
    except ManifestInvalid as exc:
        assert exc.code == "MANIFEST_INVALID"
