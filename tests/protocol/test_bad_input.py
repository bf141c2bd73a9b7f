"""Input that parsers stumble over: each is a 400, none a 500, and nothing is stored."""

from __future__ import annotations

import pytest

from tests.protocol.images import EMPTY, Repository, code, image, sha256

TEXT = image().decode()
BODIES = {
    "deep": b"[" * 200_000,
    "deep object": b'{"a":' * 200_000,
    "deep inside": TEXT.replace('"layers": []', '"layers": ' + "[" * 100_000).encode(),
    "utf-16": TEXT.encode("utf-16"),
    "utf-8 with mark": TEXT.encode("utf-8-sig"),
    "latin-1": TEXT.replace("{", '{"é": 1, ', 1).encode("latin-1"),
    "duplicate keys": TEXT.replace("{", '{"layers": [], ', 1).encode(),
    "NaN": TEXT.replace("[]", "NaN").encode(),
    "huge number": TEXT.replace("[]", "9" * 5000).encode(),
    "1e400": TEXT.replace('"size": 2', '"size": 1e400').encode(),
    "true as size": TEXT.replace('"size": 2', '"size": true').encode(),
    "negative size": TEXT.replace('"size": 2', '"size": -2').encode(),
    "lone surrogate": TEXT.replace("{", '{"annotations": {"a": "\\ud800"}, ', 1).encode(),
    "trailing": TEXT.encode() + b"{}",
    "NUL": TEXT.encode() + b"\0",
    "bad digest": TEXT.replace("sha256:", "sha256:../../").encode(),
    "digest no text": TEXT.replace(f'"{sha256(EMPTY)}"', "7").encode(),
}


@pytest.mark.parametrize("kind", BODIES)
def test_G_06_bad_manifests(repo: Repository, kind: str) -> None:
    """MANIFEST_INVALID, a code of the spec's list."""
    repo.push_blob(EMPTY)
    answer = repo.put("v1", BODIES[kind])
    assert (answer.status_code, code(answer)) == (400, "MANIFEST_INVALID")
    assert repo.get("manifests/v1").status_code == 404


@pytest.mark.parametrize("tag", ["-a", ".a", "a b", "a" * 129, "a%0A", "a%00", "é", "a+b", "a:b"])
def test_bad_tags(repo: Repository, tag: str) -> None:
    """On pull, push, delete and as a query."""
    repo.push_blob(EMPTY)
    for method in ("GET", "PUT", "DELETE"):
        answer = repo.ask(method, f"manifests/{tag}", data=image())
        assert answer.status_code == 400, method
    assert repo.put(f"{sha256(image())}?tag={tag.replace('+', '%2B')}", image()).status_code == 400


RANGES = [
    "x",
    "5",
    "5-",
    "-5",
    "9-0",
    "0-1_0",
    "0-٣".encode(),
    "0-9/5",
    "bytes */5",
    "0-" + "9" * 40,
]


@pytest.mark.parametrize("at", RANGES)
def test_bad_content_ranges(repo: Repository, at: str) -> None:
    """400 or 416, and the session survives."""
    location = repo.begin()
    assert repo.patch(location, b"0123456789", at).status_code in (400, 416)
    assert repo.get(location).headers["Range"] == "0-0"


@pytest.mark.parametrize("at", ["0-8", "0-10"])
def test_a_body_of_another_length_than_its_content_range(repo: Repository, at: str) -> None:
    """Adds nothing."""
    location = repo.begin()
    answer = repo.patch(location, b"0123456789", at)
    assert (answer.status_code, code(answer)) == (400, "SIZE_INVALID")
    assert repo.get(location).headers["Range"] == "0-0"


@pytest.mark.parametrize("query", ["", "?digest=", "?digest={0}&digest={0}", "?digest=%00"])
def test_a_put_names_one_digest(repo: Repository, query: str) -> None:
    """Else 400, and the session survives."""
    location = repo.begin()
    answer = repo.ask("PUT", location + query.format(sha256(b"x")), data=b"x")
    assert (answer.status_code, code(answer)) == (400, "DIGEST_INVALID")
    assert repo.get(location).status_code == 204
