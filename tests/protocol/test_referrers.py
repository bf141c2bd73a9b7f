"""Referrers (RF)."""

from __future__ import annotations

import pytest

from tests.protocol.images import (
    INDEX,
    MANIFEST,
    Repository,
    code,
    descriptor,
    image,
    index,
    sha256,
)

SUBJECT = descriptor(b"subject", MANIFEST)
PATH = f"referrers/{SUBJECT['digest']}"


def test_RF_01_RF_08_none_is_an_empty_index(repo: Repository) -> None:
    """Never 404, also in an unknown repository: oras takes that for an error."""
    answer = repo.get(PATH)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, INDEX)
    assert answer.json() == {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}


def test_RF_02_bad_digest(repo: Repository) -> None:
    """400."""
    answer = repo.get("referrers/sha256:bad")
    assert (answer.status_code, code(answer)) == (400, "DIGEST_INVALID")


def test_RF_03_descriptors(repo: Repository) -> None:
    """artifactType is the manifest's own, else its config's, none of an index; annotations."""
    own = image(subject=SUBJECT, artifactType="a/own", annotations={"k": "v"})
    config, listed = image(subject=SUBJECT), index(subject=SUBJECT)
    for body, kind in ((own, MANIFEST), (config, MANIFEST), (listed, INDEX)):
        repo.push(sha256(body), body, kind)
    found = {item["digest"]: item for item in repo.get(PATH).json()["manifests"]}
    assert found[sha256(own)]["artifactType"] == "a/own"
    assert found[sha256(own)]["annotations"] == {"k": "v"}
    assert found[sha256(own)]["size"] == len(own)
    assert found[sha256(config)]["artifactType"] == "application/vnd.oci.empty.v1+json"
    assert "artifactType" not in found[sha256(listed)]


def test_RF_04_filter(repo: Repository) -> None:
    """The header tells that it was applied, and only then."""
    for kind in ("a/x", "a/y"):
        body = image(subject=SUBJECT, artifactType=kind)
        repo.push(sha256(body), body)
    answer = repo.get(f"{PATH}?artifactType=a/x")
    assert [item["artifactType"] for item in answer.json()["manifests"]] == ["a/x"]
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    assert "OCI-Filters-Applied" not in repo.get(PATH).headers


def test_RF_05_long_lists_have_pages(repo: Repository) -> None:
    """Each no larger than the manifests that clients read."""
    bodies = [image(subject=SUBJECT, annotations={"k": str(i) * 1_500_000}) for i in range(4)]
    for body in bodies:
        repo.push(sha256(body), body)
    path, seen = PATH, []
    while path:
        answer = repo.get(path)
        assert len(answer.content) <= 4 << 20
        seen += [item["digest"] for item in answer.json()["manifests"]]
        path = answer.links.get("next", {}).get("url", "")
    assert sorted(seen) == sorted(map(sha256, bodies))


def test_RF_06_fallback_tags_count(repo: Repository) -> None:
    """What was pushed for a registry without the API appears, once."""
    body = image(subject=SUBJECT)
    digest = repo.push(sha256(body), body)
    listing = index({"mediaType": MANIFEST, "digest": digest, "size": len(body)})
    repo.push(SUBJECT["digest"].replace(":", "-"), listing, INDEX)
    assert [item["digest"] for item in repo.get(PATH).json()["manifests"]] == [digest]


@pytest.mark.parametrize("alg", ["sha256", "sha512"])
def test_RF_07_fallback_tags_are_cut_as_in_the_spec(repo: Repository, alg: str) -> None:
    """64 characters of the encoded part: a sha512 subject has a tag of that length."""
    from distserver.oci.digests import Digest
    from distserver.oci.references import fallback_tag

    digest = Digest.of(repo.name.encode(), alg)
    tag = f"{alg}-{digest.hex[:64]}"
    assert fallback_tag(digest) == tag
    repo.push(tag, index(), INDEX)
    assert repo.get(f"manifests/{tag}").status_code == 200


def test_deleted_referrers_go(repo: Repository) -> None:
    """At once."""
    body = image(subject=SUBJECT)
    digest = repo.push(sha256(body), body)
    assert repo.ask("DELETE", f"manifests/{digest}").status_code == 202
    assert repo.get(PATH).json()["manifests"] == []
