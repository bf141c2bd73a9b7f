"""Pulls and pushes of manifests (MP, MU)."""

from __future__ import annotations

import contextlib
import json

import pytest
import requests

from tests.live import Server
from tests.protocol.images import (
    EMPTY,
    INDEX,
    MANIFEST,
    Repository,
    code,
    descriptor,
    image,
    index,
    sha256,
    sha512,
)

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


def test_MP_01_MP_02_MP_03_get_by_tag_and_digest(repo: Repository) -> None:
    """The exact bytes, type and digest."""
    digest = repo.push("v1")
    for reference in ("v1", digest):
        answer = repo.get(f"manifests/{reference}")
        assert (answer.status_code, answer.content) == (200, image())
        assert answer.headers["Docker-Content-Digest"] == digest
        assert answer.headers["Content-Type"] == MANIFEST


def test_MP_04_head(repo: Repository) -> None:
    """Length, digest and type, no body."""
    digest = repo.push("v1")
    answer = repo.ask("HEAD", "manifests/v1")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(image()))
    assert answer.headers["Docker-Content-Digest"] == digest
    assert answer.headers["Content-Type"] == MANIFEST


def test_MP_05_missing(repo: Repository, other: Repository) -> None:
    """A missing repository is told from a missing manifest."""
    repo.push("v1")
    for reference in ("v2", sha256(b"none")):
        answer = repo.get(f"manifests/{reference}")
        assert (answer.status_code, code(answer)) == (404, "MANIFEST_UNKNOWN")
    answer = other.get("manifests/v1")
    assert (answer.status_code, code(answer)) == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize("accept", ["", "*/*", DOCKER, "text/html", f"{DOCKER}, {INDEX}"])
def test_MP_06_MP_07_accept_changes_nothing(repo: Repository, accept: str) -> None:
    """A manifest is never converted nor withheld."""
    repo.push("v1")
    answer = repo.get("manifests/v1", headers={"Accept": accept})
    assert (answer.status_code, answer.content) == (200, image())


def test_G_19_repeated_accept_lines(repo: Repository) -> None:
    """Headers on two lines are one list."""
    import http.client

    repo.push("v1")
    connection = http.client.HTTPConnection(repo.server.host, timeout=10)
    connection.putrequest("GET", f"/v2/{repo.name}/manifests/v1")
    connection.putheader("Accept", DOCKER)
    connection.putheader("Accept", MANIFEST)
    connection.endheaders()
    assert connection.getresponse().read() == image()
    connection.close()


@pytest.mark.parametrize("form", ['"{}"', "{}", 'W/"{}"', '"x", "{}"', "*"])
def test_MP_08_if_none_match(repo: Repository, form: str) -> None:
    """304 with ETag and digest, without a body."""
    digest = repo.push("v1")
    answer = repo.get("manifests/v1", headers={"If-None-Match": form.format(digest)})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["ETag"] == f'"{digest}"'
    assert answer.headers["Docker-Content-Digest"] == digest


def test_MP_09_a_blob_is_no_manifest(repo: Repository) -> None:
    """containerd then tries /blobs/."""
    repo.push("v1")
    assert repo.get(f"manifests/{sha256(EMPTY)}").status_code == 404


@pytest.mark.parametrize("bad", ["sha256:baddigest", "sha256:", "sha256:totallywrong"])
def test_MP_10_bad_digest(repo: Repository, bad: str) -> None:
    """400, as a bad tag."""
    assert repo.get(f"manifests/{bad}").status_code in (400, 404)


@pytest.mark.parametrize("make", [sha256, sha512])
def test_MU_01_MU_02_push_by_digest(repo: Repository, make: object) -> None:
    """Its own digest comes back, sha512 included, and the Location can be read."""
    repo.push_blob(EMPTY)
    digest = make(image())  # type: ignore[operator]
    answer = repo.put(digest, image())
    assert answer.status_code == 201
    assert answer.headers["Docker-Content-Digest"] == digest
    got = repo.get(answer.headers["Location"])
    assert (got.content, got.headers["Content-Type"]) == (image(), MANIFEST)
    assert got.headers["Docker-Content-Digest"] == digest


def test_MU_03_bytes_are_stored_exactly(repo: Repository) -> None:
    """Whitespace and order of keys are part of the content."""
    odd = b"\n " + json.dumps(json.loads(image()), indent=3, sort_keys=True).encode() + b" \n\n"
    digest = repo.push("odd", odd)
    assert digest == sha256(odd)
    assert repo.get("manifests/odd").content == odd
    assert repo.put(digest, image()).status_code == 400


def test_MU_04_digest_of_another_body(repo: Repository) -> None:
    """Nothing becomes readable."""
    repo.push_blob(EMPTY)
    answer = repo.put(sha256(b"other"), image())
    assert (answer.status_code, code(answer)) == (400, "DIGEST_INVALID")
    assert repo.get(f"manifests/{sha256(image())}").status_code == 404


def test_MU_05_parameters_of_the_type_are_ignored(repo: Repository) -> None:
    """And do not come back."""
    repo.push("v1", kind=f"{MANIFEST}; charset=utf-8")
    assert repo.get("manifests/v1").headers["Content-Type"] == MANIFEST


def test_MU_06_MU_08_subject_may_be_missing(repo: Repository) -> None:
    """The answer names it."""
    repo.push_blob(EMPTY)
    subject = descriptor(b"not here", MANIFEST)
    answer = repo.put("v1", image(subject=subject))
    assert (answer.status_code, answer.headers["OCI-Subject"]) == (201, subject["digest"])


LAYER = "application/vnd.oci.image.layer.v1.tar"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


@pytest.mark.parametrize(
    ("layer", "status"),
    [
        (descriptor(b"not here", LAYER), 404),
        (descriptor(b"not here", FOREIGN), 201),
        (descriptor(b"n/a", "application/vnd.oci.image.layer.nondistributable.v1.tar"), 201),
        (descriptor(EMPTY, "application/x.unheard-of"), 201),
    ],
)
def test_MU_07_missing_layers(repo: Repository, layer: dict, status: int) -> None:
    """Only what a pull would need must be here."""
    repo.push_blob(EMPTY)
    answer = repo.put("v1", image(layers=[layer]))
    assert answer.status_code == status
    if status == 404:
        assert code(answer) == "MANIFEST_BLOB_UNKNOWN"


def test_MU_07_children_may_be_blobs(repo: Repository) -> None:
    """BuildKit's cache is an index of layers."""
    repo.push_blob(EMPTY)
    assert repo.put("cache", index(descriptor(EMPTY, LAYER)), INDEX).status_code == 201


def test_MU_09_4_mb_are_fine_5_mib_are_not(repo: Repository) -> None:
    """413; where the length is not announced, the client may only see the connection end."""
    big = image(annotations={f"k{i}": "x" * 10_000 for i in range(390)})
    repo.push("big", big)
    assert repo.get("manifests/big").content == big
    huge = image(annotations={"k": "x" * (5 << 20)})
    answer = repo.put("huge", huge)
    assert (answer.status_code, code(answer)) == (413, "MANIFEST_INVALID")
    with contextlib.suppress(requests.ConnectionError):
        assert repo.put("huge", iter([huge])).status_code == 413  # type: ignore[arg-type]
    assert repo.get("manifests/huge").status_code == 404


def test_MU_10_PY_09_many_tags_at_once(repo: Repository) -> None:
    """Ten tags of 128 characters make a long line; each is named in the answer."""
    repo.push_blob(EMPTY)
    tags = [f"{i}" * 128 for i in range(10)]
    answer = repo.put(sha256(image()), image(), params={"tag": tags})
    assert answer.status_code == 201
    assert answer.headers["OCI-Tag"].replace(" ", "").split(",") == tags
    assert repo.get("tags/list").json()["tags"] == tags
    too_many = repo.put(sha256(image()), image(), params={"tag": [f"t{i}" for i in range(51)]})
    assert too_many.status_code == 414
    assert repo.get("tags/list").json()["tags"] == tags


BAD = [b"", b"{", b"[]", b"null", b'"x"', b"1", b'{"schemaVersion": 1}', image(schemaVersion=True)]


@pytest.mark.parametrize("body", BAD)
def test_MU_11_what_is_no_manifest(repo: Repository, body: bytes) -> None:
    """400, and no tag is made."""
    answer = repo.put("v1", body)
    assert (answer.status_code, code(answer)) == (400, "MANIFEST_INVALID")
    assert repo.get("manifests/v1").status_code == 404


@pytest.mark.parametrize(
    ("body", "kind"),
    [(image(), INDEX), (index(), MANIFEST), (image(manifests=[]), MANIFEST)],
)
def test_MU_12_a_manifest_has_one_meaning(repo: Repository, body: bytes, kind: str) -> None:
    """GHSA-qq97-vm5h-rrhg: two readers must not see two things."""
    repo.push_blob(EMPTY)
    assert repo.put("v1", body, kind).status_code == 400


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (image(mediaType=DOCKER), DOCKER, 201),
        (index(mediaType=DOCKER_LIST), DOCKER_LIST, 201),
        (index(), INDEX, 201),
        (image(), None, 201),
        (image(), "application/vnd.docker.distribution.manifest.v1+json", 400),
        (image(mediaType="application/x.mine"), "application/x.mine", 400),
    ],
)
def test_MU_13_types(repo: Repository, body: bytes, kind: str | None, status: int) -> None:
    """Docker's and OCI's; schema 1 and unknown ones are refused."""
    repo.push_blob(EMPTY)
    assert repo.put("v1", body, kind).status_code == status


def test_MU_14_kinds_of_content(repo: Repository) -> None:
    """No layers, empty index, nested index, inline data, custom fields, config {}."""
    child = repo.push("child", image(custom={"a": [1, None]}, artifactType="application/x.a"))
    size = len(repo.get(f"manifests/{child}").content)
    inner = index({"mediaType": MANIFEST, "digest": child, "size": size})
    kept = {**descriptor(EMPTY), "data": "e30="}
    bodies = [index(), inner, index(descriptor(inner, INDEX))]
    for number, body in enumerate(bodies):
        assert repo.put(f"i{number}", body, INDEX).status_code == 201
    repo.push("data", image(layers=[kept], artifactType="application/x.b"))


def test_MU_15_overwriting_needs_the_right_to_push(secured: Server, name: str) -> None:
    """A reader cannot move a tag, whoever made it."""
    alice, reader = (Repository(secured, name, (who, who)) for who in ("alice", "reader"))
    digest = alice.push("latest")
    answer = reader.put("latest", image(annotations={"a": "b"}))
    assert (answer.status_code, code(answer)) == (403, "DENIED")
    assert reader.get("manifests/latest").headers["Docker-Content-Digest"] == digest


def test_MU_16_conditions_of_a_put_are_ignored(repo: Repository) -> None:
    """As the spec lets us; a client must not see a 500 nor a false 412."""
    repo.push("v1")
    body = image(annotations={"n": "2"})
    headers = {"Content-Type": MANIFEST, "If-Match": '"x"'}
    answer = repo.ask("PUT", "manifests/v1", data=body, headers=headers)
    assert answer.status_code == 201
    assert repo.get("manifests/v1").content == body


@pytest.mark.parametrize("delta", [-1, 1])
def test_MU_a_size_that_is_not_that_of_the_content_is_refused(repo: Repository, delta: int) -> None:
    """Pulls would fail at every client, and a truncated copy would never be noticed."""
    repo.push_blob(EMPTY)
    wrong = {**descriptor(EMPTY), "size": len(EMPTY) + delta}
    answer = repo.put("v1", image(layers=[wrong]))
    assert (answer.status_code, code(answer)) == (400, "MANIFEST_INVALID")
    assert repo.get("manifests/v1").status_code == 404
