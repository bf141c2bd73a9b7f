"""The list of tags (TL)."""

from __future__ import annotations

import pytest

from tests.protocol.images import EMPTY, Repository, code, image, sha256

TAGS = ["1.0", "A", "B", "a", "b", "latest"]


@pytest.fixture
def tagged(repo: Repository) -> Repository:
    """A repository with TAGS, pushed in another order."""
    repo.push_blob(EMPTY)
    query = {"tag": TAGS[::-1]}
    assert repo.put(sha256(image()), image(), params=query).status_code == 201
    return repo


def test_TL_01_all_tags_in_order(tagged: Repository) -> None:
    """By their characters' codes."""
    assert tagged.get("tags/list").json() == {"name": tagged.name, "tags": TAGS}


def test_TL_02_TL_04_pages(tagged: Repository) -> None:
    """Each Link leads to the next page, of the same origin, the last has none."""
    path, seen = "tags/list?n=4", []
    while path:
        answer = tagged.get(path)
        seen.append(answer.json()["tags"])
        path = answer.links.get("next", {}).get("url", "")
        assert not path or path.startswith(f"/v2/{tagged.name}/tags/list?")
    assert seen == [TAGS[:4], TAGS[4:]]


def test_TL_02_zero_is_an_empty_list(tagged: Repository) -> None:
    """Without a Link."""
    answer = tagged.get("tags/list?n=0")
    assert (answer.json()["tags"], answer.links) == ([], {})


@pytest.mark.parametrize(("last", "rest"), [("B", 3), ("C", 3), ("zzz", 6), ("0", 0)])
def test_TL_03_last_is_exclusive(tagged: Repository, last: str, rest: int) -> None:
    """Also when no such tag exists, also without n."""
    assert tagged.get(f"tags/list?last={last}").json()["tags"] == TAGS[rest:]
    assert tagged.get(f"tags/list?n=1&last={last}").json()["tags"] == TAGS[rest : rest + 1]


@pytest.mark.parametrize("n", ["-1", "x", "1" + "0" * 30, "٣", "1_0", "%2B5", "1.5", ""])
def test_TL_05_bad_counts_are_400(tagged: Repository, n: str) -> None:
    """Python's int() takes more than digits."""
    answer = tagged.get(f"tags/list?n={n}")
    assert (answer.status_code, code(answer)) == (400, "PAGINATION_NUMBER_INVALID")


def test_TL_05_large_counts_are_clamped(repo: Repository) -> None:
    """To 1000, with a Link."""
    repo.push_blob(EMPTY)
    tags = [f"t{i:04}" for i in range(1001)]
    for start in range(0, 1001, 50):
        query = {"tag": tags[start : start + 50]}
        assert repo.put(sha256(image()), image(), params=query).status_code == 201
    answer = repo.get("tags/list?n=5000")
    assert len(answer.json()["tags"]) == 1000
    assert repo.get(answer.links["next"]["url"]).json()["tags"] == tags[1000:]


def test_TL_06_no_tags_are_an_empty_list(repo: Repository) -> None:
    """Never null."""
    repo.push(sha256(image()))
    assert repo.get("tags/list").json()["tags"] == []


def test_TL_07_unknown_repository(repo: Repository) -> None:
    """404, also where only a blob was pushed."""
    repo.push_blob(EMPTY)
    answer = repo.get("tags/list")
    assert (answer.status_code, code(answer)) == (404, "NAME_UNKNOWN")
