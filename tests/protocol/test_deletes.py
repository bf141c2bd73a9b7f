"""Deletes (DL)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import Server, running, start_server
from tests.protocol.images import EMPTY, Repository, code, sha256


@pytest.fixture(scope="module")
def without_deletes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server where deletes are switched off."""
    env = {"DISTSERVER_DELETES_ENABLED": "false"}
    started = start_server(tmp_path_factory.mktemp("kept"), "--workers", "1", env=env)
    with running(started) as server:
        yield server


def test_DL_01_a_tag_goes_alone(repo: Repository) -> None:
    """The digest and other tags stay."""
    digest = repo.push("v1")
    repo.push("v2")
    assert repo.ask("DELETE", "manifests/v1").status_code == 202
    assert repo.get("manifests/v1").status_code == 404
    assert repo.get("tags/list").json()["tags"] == ["v2"]
    for reference in ("v2", digest):
        assert repo.get(f"manifests/{reference}").status_code == 200


def test_DL_02_a_manifest_goes_with_all_its_tags(repo: Repository) -> None:
    """At once, and comes back with a push."""
    digest = repo.push("v1")
    repo.push("v2")
    assert repo.ask("DELETE", f"manifests/{digest}").status_code == 202
    for reference in ("v1", "v2", digest):
        assert repo.get(f"manifests/{reference}").status_code == 404
    repo.push("v2")
    assert repo.get("manifests/v1").status_code == 404
    assert repo.get("manifests/v2").status_code == 200


@pytest.mark.parametrize("path", ["manifests/none", "manifests/{}", "blobs/{}"])
def test_DL_03_DL_04_unknown_is_404(repo: Repository, path: str) -> None:
    """In a repository that exists."""
    repo.push("v1")
    assert repo.ask("DELETE", path.format(sha256(b"none"))).status_code == 404


@pytest.mark.parametrize("path", ["manifests/v1", "manifests/{manifest}", "blobs/{blob}"])
def test_DL_03_DL_04_switched_off(without_deletes: Server, name: str, path: str) -> None:
    """405 for tags too (CVE-2026-41888)."""
    repo = Repository(without_deletes, name)
    digest = repo.push("v1")
    place = path.format(manifest=digest, blob=sha256(EMPTY))
    answer = repo.ask("DELETE", place)
    assert (answer.status_code, code(answer)) == (405, "UNSUPPORTED")
    assert "DELETE" not in answer.headers["Allow"]
    assert repo.get(place).status_code == 200


def test_DL_04_a_blob_goes_once(repo: Repository) -> None:
    """Then it is unknown."""
    path = f"blobs/{repo.push_blob(repo.name.encode())}"
    statuses = [repo.ask("DELETE", path).status_code for _ in range(2)]
    assert statuses == [202, 404]
    assert repo.get(path).status_code == 404


def test_DL_05_the_right_to_push_is_not_that_to_delete(secured: Server, name: str) -> None:
    """Of anything."""
    alice, bob = (Repository(secured, name, (who, who)) for who in ("alice", "bob"))
    digest = alice.push("v1")
    for path in ("manifests/v1", f"manifests/{digest}", f"blobs/{sha256(EMPTY)}"):
        answer = alice.ask("DELETE", path)
        assert (answer.status_code, code(answer)) == (403, "DENIED")
        assert alice.get(path).status_code == 200
    assert bob.ask("DELETE", "manifests/v1").status_code == 202
