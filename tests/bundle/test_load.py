"""`load` of what other tools write, in every packing, under every kind of name."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path

import pytest

from distserver.oci.digests import Digest
from distserver.oci.manifests import parse_manifest
from tests.bundle.archives import (
    NAMED,
    PACKINGS,
    REF,
    blobs,
    digest_of,
    docker_save,
    entry,
    index_json,
    layout,
    make_image,
    member,
    multi_arch,
    signature,
    tar,
    write,
)
from tests.bundle.site import Site

A, B = make_image("a", 3000), make_image("b")
APP = "docker.io/library/app:1"


@pytest.mark.parametrize("kind", ["tar", *PACKINGS, "parts", "directory"])
def test_a_layout_in_every_packing(site: Site, tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, layout({APP: A, "quay.io/team/b:2": B}))
    done = site.do("load", path)
    assert site.images() == {APP: A.digest, "quay.io/team/b:2": B.digest}
    assert done["written_bytes"] == sum(map(len, (*A.blobs, A.manifest, *B.blobs, B.manifest)))
    assert site.whole()


@pytest.mark.parametrize("kind", ["tar", "gz", "zst", "parts"])
def test_a_docker_archive_gives_the_same_image_each_time(
    site: Site, tmp_path: Path, kind: str
) -> None:
    first = site.do("load", write(tmp_path, kind, docker_save("app:1", "site.example:5000/x:2")))
    assert [image["name"] for image in first["images"]] == [APP, "site.example_5000/x:2"]
    before = site.files()
    again = site.do("load", write(tmp_path, kind, docker_save("app:1", "site.example:5000/x:2")))
    assert (again["images"], again["written_bytes"]) == (first["images"], 0)
    assert site.files() == before
    assert site.whole()


def test_what_is_held_is_not_written_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distserver.registry.records.LEASE_SECONDS", 0)  # an hour later
    path = write(tmp_path, "zst", layout({APP: A}))
    site.do("load", path)
    before = site.files()
    done = site.do("load", path)
    assert done["written_bytes"] == 0
    assert done["held_bytes"] > 3000
    assert site.files() == before


def test_what_is_loaded_is_pinned(site: Site, tmp_path: Path) -> None:
    site.do("load", write(tmp_path, "tar", layout({APP: A, "quay.io/team/b:2": B})))
    assert site.run("pin", "--list").output.split() == [APP, "quay.io/team/b:2"]


def test_members_in_any_order_and_with_dots_before_them(site: Site, tmp_path: Path) -> None:
    files = dict(reversed(layout({APP: A}).items()))
    path = tmp_path / "x.tar"
    path.write_bytes(tar({f"./{name}": data for name, data in files.items()}))
    site.do("load", path)
    assert site.images() == {APP: A.digest}


def test_links_to_layers_as_old_docker_writes_them(site: Site, tmp_path: Path) -> None:
    files = dict(docker_save("app:1", layers=(b"one", b"one")))
    manifest = json.loads(files["manifest.json"])
    real = manifest[0]["Layers"][0]
    manifest[0]["Layers"] = ["soft/layer.tar", "hard/layer.tar"]
    files["manifest.json"] = json.dumps(manifest).encode()
    links = (
        member("soft/layer.tar", tarfile.SYMTYPE, f"../{real}"),
        member("hard/layer.tar", tarfile.LNKTYPE, "soft/layer.tar"),
    )
    path = tmp_path / "x.tar"
    path.write_bytes(tar(files, *links))
    site.do("load", path)
    assert site.whole()


def test_packed_layers_of_a_docker_archive_are_proved(site: Site, tmp_path: Path) -> None:
    """crane and kaniko write gzip under names of docker's."""
    plain = docker_save("app:1", layers=(b"one",))
    packed = {n: gzip.compress(d) if n.endswith("tar") else d for n, d in plain.items()}
    site.do("load", write(tmp_path, "tar", packed))
    stored = site.registry.manifests.get("docker.io/library/app", Digest.parse(site.images()[APP]))
    assert json.loads(stored.data)["layers"][0]["mediaType"].endswith("diff.tar.gzip")
    wrong = {n: gzip.compress(b"no") if n.endswith("tar") else d for n, d in plain.items()}
    assert "is not the layer" in site.refused("load", write(tmp_path, "tar", wrong))


def test_docker_of_today_has_a_layout_too_and_its_digests_are_kept(
    site: Site, tmp_path: Path
) -> None:
    manifest = b'[{"Config": "x", "RepoTags": ["app:1"], "Layers": []}]'
    site.do("load", write(tmp_path, "tar", layout({APP: A}) | {"manifest.json": manifest}))
    nameless = layout({"": A}, REF) | {"manifest.json": manifest}
    site.do("load", write(tmp_path, "tar", nameless), "--as", "b:2")
    assert site.images() == {APP: A.digest, "b:2": A.digest}


def test_an_index_with_a_member_that_was_never_there(site: Site, tmp_path: Path) -> None:
    body, files = multi_arch(A, missing=[B])
    files["index.json"] = index_json({**entry(body), "annotations": {NAMED: APP}})
    site.do("load", write(tmp_path, "tar", files))
    assert site.images() == {APP: digest_of(body)}
    site.do("load", write(tmp_path, "tar", files), "--as", "local/app")
    assert site.images()["local/app:1"] == digest_of(body)
    assert site.whole()


def test_an_index_none_of_whose_members_is_there_is_refused(site: Site, tmp_path: Path) -> None:
    body, files = multi_arch(missing=[B])
    files["index.json"] = index_json({**entry(body), "annotations": {NAMED: APP}})
    assert "no member" in site.refused("load", write(tmp_path, "tar", files))
    assert site.images() == {}


def test_members_that_are_on_their_way_are_no_hindrance(site: Site, tmp_path: Path) -> None:
    """A member was pulled, its layers have not come: the archive never had it."""
    body, files = multi_arch(A, missing=[B])
    files["index.json"] = index_json({**entry(body), "annotations": {NAMED: APP}})
    site.push("any", "1", A)
    pulled = parse_manifest(B.manifest, None)
    digest = Digest.parse(B.digest)
    site.registry.manifests.keep("docker.io/library/app", digest, B.manifest, pulled, [])
    site.do("load", write(tmp_path, "tar", files))
    assert site.images()[APP] == digest_of(body)


def test_referrers_without_a_name_go_with_the_image(site: Site, tmp_path: Path) -> None:
    signed = signature(A.manifest)
    files = layout({APP: A}) | blobs(signed.manifest, *signed.blobs)
    listed = (*json.loads(files["index.json"])["manifests"], entry(signed.manifest))
    site.do("load", write(tmp_path, "tar", files | {"index.json": index_json(*listed)}))
    found = site.registry.referrers.list("docker.io/library/app", Digest.parse(A.digest))
    assert [each["digest"] for each in found] == [signed.digest]


@pytest.mark.parametrize(
    ("spelled", "to", "there"),
    [
        (APP, "", APP),
        ("app:1", "", APP),
        ("distserver.internal/site/app:1", "", "site/app:1"),
        ("corp.example:5000/a/b:1", "", "corp.example_5000/a/b:1"),
        ("localhost/app:1", "", "localhost/app:1"),
        (APP, "site/app", "site/app:1"),
        (APP, "site/app:2", "site/app:2"),
        (APP, "quay.io/site/app", "quay.io/site/app:1"),
        (APP, "distserver.internal/mine", "mine:1"),
        (APP, "old/", "old/library/app:1"),
        ("corp.example:5000/a/b:1", "old/", "old/a/b:1"),
        ("1", "site/app", "site/app:1"),
        ("", "site/app", "site/app:latest"),
        ("", "site/app:3", "site/app:3"),
    ],
)
def test_names(site: Site, tmp_path: Path, spelled: str, to: str, there: str) -> None:
    path = write(tmp_path, "tar", layout({spelled: A}, REF))
    site.do("load", path, *(["--as", to] if to else []))
    assert site.images() == {there: A.digest}


@pytest.mark.parametrize("spelled", ["", "1", "UPPER/x:1", "a/../b:1", "a:b:c", "x/\x1b[1m:1"])
def test_names_that_are_none(site: Site, tmp_path: Path, spelled: str) -> None:
    site.refused("load", write(tmp_path, "tar", layout({spelled: A}, REF)))
    assert site.images() == {}


def test_a_name_with_the_digest_of_another_image(site: Site, tmp_path: Path) -> None:
    path = write(tmp_path, "tar", layout({f"app@{B.digest}": A}))
    assert "another image" in site.refused("load", path)
    site.do("load", write(tmp_path, "tar", layout({f"app@{A.digest}": A})))
    assert site.registry.manifests.has("docker.io/library/app", Digest.parse(A.digest))


def test_two_images_for_one_name_are_refused(site: Site, tmp_path: Path) -> None:
    path = write(tmp_path, "tar", layout({"a:1": A, "b:1": B}))
    assert "two images" in site.refused("load", path, "--as", "one/name")
    assert site.images() == {}


def test_what_was_pushed_here_under_an_upstreams_name_stays(site: Site, tmp_path: Path) -> None:
    site.push("docker.io/library/app", "1", B)
    path = write(tmp_path, "tar", layout({APP: A}))
    assert "was pushed here" in site.refused("load", path)
    assert site.images() == {APP: B.digest}


def test_the_archives_of_a_directory_that_can_be_loaded_are(site: Site, tmp_path: Path) -> None:
    root = tmp_path / "usb"
    root.mkdir()
    (root / "1.tar").write_bytes(tar(layout({"a:1": A}))[:-6000])
    (root / "2").write_bytes(tar(layout({"b:1": B})))
    (root / "README").write_text("notes")
    (root / "2.lock").write_text("# notes")
    said = site.refused("load", root)
    assert "1.tar" in said
    assert "README" not in said
    assert list(site.images()) == ["docker.io/library/b:1"]


def test_one_name_is_not_for_several_archives(site: Site, tmp_path: Path) -> None:
    paths = [tmp_path / "1.tar", tmp_path / "2.tar"]
    for path, image in zip(paths, (A, B), strict=True):
        path.write_bytes(tar(layout({"": image}, REF)))
    result = site.run("load", *paths, "--as", "site/app")
    assert (result.exit_code, "PREFIX/" in result.stderr) == (2, True)
    assert site.images() == {}


@pytest.mark.parametrize("files", [{"manifest.json": b"[]"}, {"index.json": index_json()}])
def test_an_archive_of_nothing(site: Site, tmp_path: Path, files: dict[str, bytes]) -> None:
    assert "lists" in site.refused("load", write(tmp_path, "tar", files))


def test_a_directory_without_archives_and_a_storage_are_refused(site: Site, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no archive" in site.refused("load", tmp_path / "empty")
    assert "storage of distserver" in site.refused("load", site.directory / "storage")
    assert "No such file" in site.refused("load", tmp_path / "none.tar")


def test_a_damaged_copy_is_mended_by_a_load(site: Site, tmp_path: Path) -> None:
    path = write(tmp_path, "tar", layout({APP: A}))
    site.do("load", path)
    (stored,) = Path(site.directory).glob(f"storage/blobs/sha256/*/{digest_of(A.layer)[7:]}")
    stored.chmod(0o644)
    stored.write_bytes(A.layer[:-1] + b"x")
    assert not site.whole()
    assert site.do("load", path)["written_bytes"] == len(A.layer)
    assert site.whole()
