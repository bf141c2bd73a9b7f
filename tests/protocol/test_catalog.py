"""The catalogue and extensions (EX)."""

from __future__ import annotations

import pytest

from tests.live import Server
from tests.protocol.images import Repository, code


def test_EX_01_discovery_is_absent(server: Server) -> None:
    """404 in the spec's shape."""
    answer = server.request("GET", "/v2/_oci/ext/discover")
    assert answer.status_code == 404
    assert code(answer)


def test_EX_02_pages_of_repositories(server: Server, name: str) -> None:
    """Sorted, with Links to the end."""
    names = [f"{name}/{letter}" for letter in "abc"]
    for each in names:
        Repository(server, each).push("v1")
    path, seen = "/v2/_catalog?n=2", []
    while path:
        answer = server.request("GET", path)
        assert len(answer.json()["repositories"]) <= 2
        seen += answer.json()["repositories"]
        path = answer.links.get("next", {}).get("url", "")
    assert set(names) <= set(seen)
    assert seen == sorted(set(seen))


def test_EX_02_default_and_last(server: Server, repo: Repository) -> None:
    """At most 100; last is exclusive."""
    repo.push("v1")
    assert len(server.request("GET", "/v2/_catalog").json()["repositories"]) <= 100
    after = server.request("GET", f"/v2/_catalog?last={repo.name}").json()["repositories"]
    assert repo.name not in after


@pytest.mark.parametrize("n", ["-1", "x", "9" * 30, "1_0"])
def test_EX_02_bad_counts(server: Server, n: str) -> None:
    """An unbounded one was CVE-2023-2253."""
    answer = server.request("GET", f"/v2/_catalog?n={n}")
    assert (answer.status_code, code(answer)) == (400, "PAGINATION_NUMBER_INVALID")
