"""Mounts of blobs from another repository (BU-21 to BU-23)."""

from __future__ import annotations

import pytest

from tests.protocol.images import Repository, sha256


def _mount(repo: Repository, digest: str, **query: str) -> int:
    answer = repo.ask("POST", "blobs/uploads/", params={"mount": digest, **query})
    if answer.status_code == 201:
        assert answer.headers["Docker-Content-Digest"] == digest
        assert repo.get(answer.headers["Location"]).status_code == 200
    else:
        assert repo.get(answer.headers["Location"]).status_code == 204
    return answer.status_code


@pytest.mark.parametrize("given", [True, False], ids=["BU-21 from", "BU-23 anonymous"])
def test_mount(repo: Repository, other: Repository, given: bool) -> None:
    """The blob is readable in the new repository without sending it."""
    data = repo.name.encode()
    digest = repo.push_blob(data)
    repo.push("v1")
    assert _mount(other, digest, **({"from": repo.name} if given else {})) == 201
    assert other.get(f"blobs/{digest}").content == data


@pytest.mark.parametrize("source", ["none/such", "Bad Name", "../..", ""])
def test_BU_22_a_mount_that_fails_opens_a_session(repo: Repository, source: str) -> None:
    """202, never 404: the client uploads instead."""
    assert _mount(repo, sha256(repo.name.encode()), **{"from": source}) == 202


def test_BU_22_a_blob_that_the_source_lacks(repo: Repository, other: Repository) -> None:
    """Though another repository has it: the named source decides."""
    digest = repo.push_blob(repo.name.encode())
    assert _mount(other, digest, **{"from": f"{repo.name}/third"}) == 202
    assert other.get(f"blobs/{digest}").status_code == 404
