"""Pulls of blobs (BP)."""

from __future__ import annotations

import pytest

from tests.protocol.images import Repository, code, sha256, sha512

DATA = bytes(range(256)) * 8
SIZE = len(DATA)


def test_BP_01_BP_03_BP_10_get_sends_the_exact_bytes(repo: Repository) -> None:
    """With a length, the digest and a plain type."""
    digest = repo.push_blob(DATA)
    answer = repo.get(f"blobs/{digest}")
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["Docker-Content-Digest"] == digest
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.headers["Content-Type"] == "application/octet-stream"


def test_BP_02_BP_08_head_tells_length_digest_and_ranges(repo: Repository) -> None:
    """Without a body."""
    digest = repo.push_blob(DATA)
    for method in ("HEAD", "GET"):
        answer = repo.ask(method, f"blobs/{digest}")
        assert answer.status_code == 200
        assert answer.headers["Content-Length"] == str(SIZE)
        assert answer.headers["Docker-Content-Digest"] == digest
        assert answer.headers["Accept-Ranges"] == "bytes"


def test_BP_02_unknown_blob_is_404(repo: Repository) -> None:
    """BLOB_UNKNOWN on GET, no body on HEAD."""
    missing = f"blobs/{sha256(b'missing')}"
    answer = repo.get(missing)
    assert (answer.status_code, code(answer)) == (404, "BLOB_UNKNOWN")
    head = repo.ask("HEAD", missing)
    assert (head.status_code, head.content) == (404, b"")


RANGES = [
    pytest.param("bytes=0-0", 0, 1, id="BP-04 first byte"),
    pytest.param("bytes=10-19", 10, 20, id="BP-04 middle"),
    pytest.param("bytes=100-", 100, SIZE, id="BP-05 BP-07 to the end"),
    pytest.param("bytes=-7", SIZE - 7, SIZE, id="BP-05 suffix"),
    pytest.param("bytes=-999999", 0, SIZE, id="BP-05 long suffix"),
    pytest.param("bytes=5-999999", 5, SIZE, id="BP-05 clipped"),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("header", "start", "stop"), RANGES)
def test_ranges(repo: Repository, method: str, header: str, start: int, stop: int) -> None:
    """206 with the exact length and place."""
    digest = repo.push_blob(DATA)
    answer = repo.ask(method, f"blobs/{digest}", headers={"Range": header})
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(stop - start)
    assert answer.content == (DATA[start:stop] if method == "GET" else b"")


@pytest.mark.parametrize(
    "header", [f"bytes={SIZE}-", "bytes=500-0", "bytes=9999-10000", "bytes=-0"]
)
def test_BP_05_unsatisfiable_ranges_are_416(repo: Repository, header: str) -> None:
    """They tell the size."""
    answer = repo.get(f"blobs/{repo.push_blob(DATA)}", headers={"Range": header})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "bytes=x-y", "bytes", "lines=1-2", "bytes=-"])
def test_BP_06_other_ranges_get_everything(repo: Repository, header: str) -> None:
    """Never a 500."""
    answer = repo.get(f"blobs/{repo.push_blob(DATA)}", headers={"Range": header})
    assert (answer.status_code, answer.content) == (200, DATA)


def test_BP_09_etag_makes_304(repo: Repository) -> None:
    """And is strong and long-lived."""
    digest = repo.push_blob(DATA)
    answer = repo.get(f"blobs/{digest}", headers={"If-None-Match": f'"{digest}"'})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["ETag"] == f'"{digest}"'
    assert answer.headers["Cache-Control"] == "max-age=31536000"


@pytest.mark.parametrize(("tag", "status"), [('"{}"', 206), ('"other"', 200), ('W/"{}"', 200)])
def test_BP_09_if_range(repo: Repository, tag: str, status: int) -> None:
    """The range is sent only of the same content; the comparison is strong (RFC 9110 13.1.5)."""
    digest = repo.push_blob(DATA)
    headers = {"Range": "bytes=0-3", "If-Range": tag.format(digest)}
    assert repo.get(f"blobs/{digest}", headers=headers).status_code == status


def test_BP_11_empty_blob(repo: Repository) -> None:
    """Length 0, and no range of it."""
    digest = repo.push_blob(b"")
    for method in ("GET", "HEAD"):
        answer = repo.ask(method, f"blobs/{digest}")
        assert (answer.status_code, answer.headers["Content-Length"]) == (200, "0")
    assert repo.get(f"blobs/{digest}", headers={"Range": "bytes=0-"}).status_code == 416


def test_BP_12_deleting_in_one_repository_leaves_the_other(
    repo: Repository, other: Repository
) -> None:
    """The bytes are shared, not the right to read them."""
    digest = repo.push_blob(b"shared " + repo.name.encode())
    assert other.get(f"blobs/{digest}").status_code == 404
    other.push_blob(b"shared " + repo.name.encode())
    assert repo.ask("DELETE", f"blobs/{digest}").status_code == 202
    assert repo.get(f"blobs/{digest}").status_code == 404
    assert other.get(f"blobs/{digest}").status_code == 200


def test_blob_of_sha512_is_known_by_it(repo: Repository) -> None:
    """The digest of the request comes back."""
    digest = repo.push_blob(DATA, sha512(DATA))
    assert repo.get(f"blobs/{digest}").headers["Docker-Content-Digest"] == digest
