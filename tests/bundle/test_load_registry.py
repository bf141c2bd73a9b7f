"""The directory of a registry:2, moved in: tags, revisions, layers; and what is broken."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from distserver.oci.digests import Digest
from tests.bundle.archives import Image, digest_of, make_image, multi_arch
from tests.bundle.site import Site

A, B, C = (make_image(seed) for seed in "abc")
V2 = Path("docker/registry/v2")


def data_of(root: Path, data: bytes) -> Path:
    digits = digest_of(data)[7:]
    return root / V2 / "blobs/sha256" / digits[:2] / digits / "data"


def put(root: Path, name: str, manifest: bytes, *contents: bytes, tag: str = "") -> None:
    """Write an image, as docker-registry does."""
    base = root / V2 / "repositories" / name
    for data in (manifest, *contents):
        data_of(root, data).parent.mkdir(parents=True, exist_ok=True)
        data_of(root, data).write_bytes(data)
    for data in contents:
        link(base / "_layers/sha256" / digest_of(data)[7:], data)
    link(base / "_manifests/revisions/sha256" / digest_of(manifest)[7:], manifest)
    if tag:
        link(base / "_manifests/tags" / tag / "current", manifest)


def link(directory: Path, data: bytes) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "link").write_text(digest_of(data))


def registry(root: Path, images: Mapping[tuple[str, str], Image]) -> Path:
    for (name, tag), image in images.items():
        put(root, name, image.manifest, *image.blobs, tag=tag)
    return root


def test_tags_revisions_and_layers_come(site: Site, tmp_path: Path) -> None:
    root = registry(
        tmp_path / "r", {("team/a", "v1"): A, ("team/a", ""): B, ("deep/er/b", "V2"): C}
    )
    put(root, "team/a", b"{}", b"only a layer")
    (root / V2 / "repositories/team/a/_manifests/revisions/sha256" / digest_of(b"{}")[7:]).joinpath(
        "link"
    ).unlink()
    done = site.do("load", root)
    assert site.images() == {"team/a:v1": A.digest, "deep/er/b:V2": C.digest}
    assert f"team/a@{B.digest}" in [image["name"] for image in done["images"]]
    assert site.registry.manifests.has("team/a", Digest.parse(B.digest))
    assert site.registry.blobs.has("team/a", Digest.of(b"only a layer"))
    assert not site.registry.blobs.has("deep/er/b", Digest.of(b"only a layer"))
    assert site.whole()
    before = site.files()
    assert site.do("load", root)["written_bytes"] == 0
    assert site.files() == before


def test_each_place_that_people_name(site: Site, tmp_path: Path) -> None:
    root = registry(tmp_path / "r", {("a", "v1"): A})
    for place in (root, root / "docker/registry", root / V2):
        assert [image["name"] for image in site.do("load", place)["images"]] == ["a:v1"]


def test_names(site: Site, tmp_path: Path) -> None:
    """They stay, and library/ is Docker Hub's as for every client that asks for it."""
    root = registry(tmp_path / "r", {("library/a", "1"): A, ("quay.io/b", "1"): B, ("c", "1"): C})
    site.do("load", root)
    assert list(site.images()) == ["c:1", "docker.io/library/a:1", "quay.io/b:1"]
    site.do("load", root, "--as", "old/")
    assert {"old/c:1", "old/library/a:1", "old/b:1"} < site.images().keys()
    assert "PREFIX/" in site.refused("load", root, "--as", "one")


def test_an_index_and_its_members(site: Site, tmp_path: Path) -> None:
    body, _ = multi_arch(A, missing=[B])
    root = registry(tmp_path / "r", {("app", ""): A})
    put(root, "app", body, tag="v1")
    site.do("load", root)
    assert site.images() == {"app:v1": digest_of(body)}
    assert site.registry.manifests.has("app", Digest.parse(A.digest))


def test_indexes_nested_too_deeply(site: Site, tmp_path: Path) -> None:
    root, inner = registry(tmp_path / "r", {("app", "v1"): A}), A
    for _ in range(9):
        body, _ = multi_arch(inner)
        put(root, "app", body, tag="deep")
        inner = Image(b"", b"", body)
    assert "nested" in site.refused("load", root)
    assert site.images()["app:v1"] == A.digest


def test_what_is_broken_is_named_and_the_rest_comes(site: Site, tmp_path: Path) -> None:
    root = registry(tmp_path / "r", {("a", "v1"): A, ("b", "v1"): B, ("c", "v1"): C})
    data_of(root, A.layer).unlink()
    data_of(root, B.layer).write_bytes(B.layer[:-1] + b"x")
    put(root, "d", b'{"schemaVersion": 1}', tag="old")
    (root / V2 / "repositories/c/_manifests/tags/crash/current").mkdir(parents=True)
    (root / V2 / "repositories/c/_manifests/tags/crash/current/link").touch()
    said = site.refused("load", root)
    for name, why in (("a:v1", "is missing"), ("b:v1", "has the digest"), ("d:old", "schema")):
        assert any(name in line and why in line for line in said.splitlines()), said
    assert site.images() == {"c:v1": C.digest}
    assert site.run("verify").exit_code == 0
