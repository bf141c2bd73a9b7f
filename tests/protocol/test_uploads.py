"""Pushes of blobs in sessions (BU)."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live import Server, kill, wait_for
from tests.protocol.images import Repository, code, sha256, sha512

DATA = bytes(range(256)) * 8


def test_BU_01_BU_02_post_opens_a_session(repo: Repository) -> None:
    """Of its own each time, with the headers that docker reads."""
    first, second = (repo.ask("POST", "blobs/uploads/") for _ in range(2))
    assert first.status_code == 202
    assert first.headers["Location"] != second.headers["Location"]
    assert first.headers["Docker-Upload-UUID"] in first.headers["Location"]
    assert (first.headers["Range"], first.headers["Content-Length"]) == ("0-0", "0")


def test_BU_03_BU_04_BU_25_BU_26_put_publishes(repo: Repository) -> None:
    """Exactly 201, where the blob is, and it is there at once."""
    digest = sha256(DATA)
    answer = repo.close(repo.begin(), digest, DATA)
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v2/{repo.name}/blobs/{digest}"
    assert answer.headers["Docker-Content-Digest"] == digest
    assert repo.ask("HEAD", answer.headers["Location"]).status_code == 200
    assert repo.get(answer.headers["Location"]).content == DATA


def test_BU_05_a_query_beside_the_digest_is_fine(repo: Repository) -> None:
    """Clients append to what Location says."""
    path = f"{repo.begin()}?_state=a%3Db&digest={sha256(DATA).replace(':', '%3A')}"
    assert repo.ask("PUT", path, data=DATA).status_code == 201


def test_BU_06_single_post_takes_a_whole_blob(repo: Repository) -> None:
    """It saves a round trip."""
    answer = repo.ask("POST", f"blobs/uploads/?digest={sha256(DATA)}", data=DATA)
    assert answer.status_code == 201
    assert repo.get(answer.headers["Location"]).content == DATA


@pytest.mark.parametrize("path", ["post", "put", "patched", "last chunk", "sha512"])
def test_BU_07_wrong_digest_publishes_nothing(repo: Repository, path: str) -> None:
    """On any path: neither the digest claimed nor that of the bytes becomes readable."""
    data = f"{repo.name} {path}".encode()
    wrong = (sha512 if path == "sha512" else sha256)(b"other" + data)
    if path == "post":
        answer = repo.ask("POST", f"blobs/uploads/?digest={wrong}", data=data)
    else:
        location, sent = repo.begin(), data
        if path in ("patched", "last chunk"):
            repo.patch(location, data[:5])
            sent = b"" if path == "patched" else data[5:]
        answer = repo.close(location, wrong, sent)
    assert (answer.status_code, code(answer)) == (400, "DIGEST_INVALID")
    assert repo.get(f"blobs/{wrong}").status_code == 404
    assert repo.get(f"blobs/{sha256(data)}").status_code == 404


@pytest.mark.parametrize("form", ["{a}-{b}", "bytes {a}-{b}", "bytes {a}-{b}/2048"])
def test_BU_08_BU_10_chunks(repo: Repository, form: str) -> None:
    """The spec's form of Content-Range, and those that clients send."""
    location = repo.begin()
    for start in (0, 1024):
        stop = start + 1023
        answer = repo.patch(location, DATA[start : stop + 1], form.format(a=start, b=stop))
        assert answer.status_code == 202, answer.text
        assert answer.headers["Range"] == f"0-{stop}"
        location = answer.headers["Location"]
    assert repo.close(location, sha256(DATA)).status_code == 201
    assert repo.get(f"blobs/{sha256(DATA)}").content == DATA


def test_BU_09_PY_04_chunked_coding_without_content_range(repo: Repository) -> None:
    """docker and podman stream a whole blob so."""

    def pieces() -> Iterator[bytes]:
        yield DATA[:1000]
        yield DATA[1000:]

    location = repo.begin()
    answer = repo.patch(location, pieces())
    assert (answer.status_code, answer.headers["Range"]) == (202, f"0-{len(DATA) - 1}")
    assert repo.close(location, sha256(DATA)).status_code == 201


@pytest.mark.parametrize("at", ["0-9", "5-14", "11-20", "100-109"])
def test_BU_11_chunks_out_of_order_are_416(repo: Repository, at: str) -> None:
    """The session lives on and tells where it stands."""
    location = repo.begin()
    repo.patch(location, DATA[:10], "0-9")
    assert repo.patch(location, DATA[:10], at).status_code == 416
    status = repo.get(location)
    assert (status.status_code, status.headers["Range"]) == (204, "0-9")
    assert repo.patch(status.headers["Location"], DATA[10:], "10-2047").status_code == 202


def test_BU_12_last_chunk_out_of_order_is_416(repo: Repository) -> None:
    """The session survives and can be closed well."""
    location = repo.begin()
    repo.patch(location, DATA[:10], "0-9")
    wrong = repo.close(location, sha256(DATA), DATA[10:], **{"Content-Range": "11-2048"})
    assert wrong.status_code == 416
    right = repo.close(location, sha256(DATA), DATA[10:], **{"Content-Range": "10-2047"})
    assert right.status_code == 201


@pytest.mark.parametrize("split", [10, len(DATA)], ids=["with a chunk", "empty"])
def test_BU_13_put_after_patches(repo: Repository, split: int) -> None:
    """With the last chunk or nothing."""
    location = repo.begin()
    repo.patch(location, DATA[:split])
    assert repo.close(location, sha256(DATA), DATA[split:]).status_code == 201
    assert repo.get(f"blobs/{sha256(DATA)}").content == DATA


def test_BU_14_status_of_a_session(repo: Repository) -> None:
    """Also of one that holds nothing: the Range still has the form that clients parse."""
    location = repo.begin()
    for sent, expected in ((b"", "0-0"), (b"abc", "0-2")):
        repo.patch(location, sent)
        answer = repo.get(location)
        assert (answer.status_code, answer.headers["Range"]) == (204, expected)
        assert answer.headers["Location"] == location


def test_BU_15_no_minimum_for_chunks(repo: Repository) -> None:
    """We buffer rather than ask for it: single bytes are fine."""
    answer = repo.ask("POST", "blobs/uploads/")
    assert "OCI-Chunk-Min-Length" not in answer.headers
    for byte in (b"a", b"b"):
        repo.patch(answer.headers["Location"], byte)
    assert repo.close(answer.headers["Location"], sha256(b"ab")).status_code == 201


@pytest.mark.parametrize("query", ["", "?digest-algorithm=sha512"], ids=["BU-17", "BU-16"])
def test_sha512_uploads(repo: Repository, query: str) -> None:
    """Told before or only at the end, in one piece or two."""
    location = repo.ask("POST", f"blobs/uploads/{query}").headers["Location"]
    repo.patch(location, DATA[:100])
    assert repo.close(location, sha512(DATA), DATA[100:]).status_code == 201
    assert repo.get(f"blobs/{sha512(DATA)}").content == DATA


def test_BU_16_unsupported_algorithm_is_400(repo: Repository) -> None:
    """Told at the start, before bytes are sent."""
    answer = repo.ask("POST", "blobs/uploads/?digest-algorithm=md5")
    assert (answer.status_code, code(answer)) == (400, "DIGEST_INVALID")


def test_BU_18_cancel(repo: Repository) -> None:
    """204, and the session is unknown from then on."""
    location = repo.begin()
    assert repo.ask("DELETE", location).status_code == 204
    for method in ("GET", "PATCH", "DELETE"):
        answer = repo.ask(method, location, data=b"x" if method == "PATCH" else None)
        assert (answer.status_code, code(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.files
def test_BU_19_unfinished_sessions_expire(
    start: Callable[..., Server], name: str, tmp_path: Path
) -> None:
    """Progress extends their life: only the silent one goes. The sweep runs as at night."""
    import os
    import time

    from distserver.app import open_registry
    from distserver.config import Config
    from distserver.registry import janitor

    server = start(tmp_path / "server", "--workers", "1")
    repo = Repository(server, name)
    silent, active = repo.begin(), repo.begin()
    old = time.time() - 7200
    for path in server.storage.rglob("*"):
        if path.is_file() and "_store" not in path.parts:
            os.utime(path, (old, old))
    repo.patch(active, b"progress")
    config = Config(storage=server.places, state=str(tmp_path / "server" / "state"))
    registry = open_registry(config)
    assert janitor.sweep(registry.backend, registry.uploads, 3600) >= 1
    assert repo.get(silent).status_code == 404
    assert repo.get(active).status_code == 204


@pytest.mark.parametrize("session", ["0" * 32, "x", "..", "%2e%2e", "A" * 32, "0" * 31 + "%0a"])
def test_BU_20_unknown_sessions_are_404(repo: Repository, session: str) -> None:
    """Whatever they look like."""
    for method in ("GET", "PATCH", "DELETE"):
        answer = repo.ask(method, f"blobs/uploads/{session}x")
        assert (answer.status_code, code(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_BU_20_a_session_of_another_repository_is_unknown(
    repo: Repository, other: Repository
) -> None:
    """Also to the PUT that would close it."""
    location = repo.begin().replace(repo.name, other.name)
    assert other.get(location).status_code == 404
    assert other.close(location, sha256(DATA), DATA).status_code == 404


def test_BU_20_a_session_of_another_user_is_unknown(secured: Server, name: str) -> None:
    """An identifier is no right."""
    alice, bob = (Repository(secured, name, (who, who)) for who in ("alice", "bob"))
    location = alice.begin()
    assert bob.get(location).status_code == 404
    assert bob.patch(location, b"x").status_code == 404
    assert bob.ask("DELETE", location).status_code == 404
    assert alice.get(location).status_code == 204


def test_a_finished_session_is_unknown_but_its_put_may_be_repeated(repo: Repository) -> None:
    """A client whose answer got lost asks again."""
    location = repo.begin()
    repo.patch(location, DATA)
    assert repo.close(location, sha256(DATA)).status_code == 201
    assert repo.get(location).status_code == 404
    assert repo.patch(location, b"x").status_code == 404
    assert repo.close(location, sha256(DATA)).status_code == 201
    assert repo.close(location, sha256(b"never pushed")).status_code == 404


def test_BU_27_PY_11_a_killed_worker_loses_no_acknowledged_byte(
    start: Callable[..., Server], name: str, tmp_path: Path
) -> None:
    """Another worker goes on with the session."""
    server = start(tmp_path / "server", "--workers", "2")
    repo = Repository(server, name)
    location = repo.begin()
    assert repo.patch(location, DATA[:1000]).status_code == 202
    before = server.workers()
    for pid in before:
        kill(pid)
    wait_for(lambda: len(set(server.workers()) - set(before)) == 2, 20, "new workers")
    server.session.close()
    assert repo.get(location).headers["Range"] == "0-999"
    assert repo.close(location, sha256(DATA), DATA[1000:]).status_code == 201


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_BU_28_racing_requests_never_interleave(repo: Repository, method: str) -> None:
    """Each is told the truth, and what is read is one of the bodies."""
    location = repo.begin()
    bodies = [bytes([65 + i]) * 300_000 for i in range(2)]

    def send(body: bytes) -> int:
        client = Repository(_own_session(repo.server), repo.name)
        with client.server.session:
            if method == "PUT":
                return client.close(location, sha256(body), body).status_code
            return client.patch(location, body, "0-299999").status_code

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        statuses = list(pool.map(send, bodies))
    assert set(statuses) <= {201, 202, 400, 404, 409, 416}, statuses
    for body, status in zip(bodies, statuses, strict=True):
        if method == "PUT" and status == 201:
            assert repo.get(f"blobs/{sha256(body)}").content == body
        if method == "PATCH" and status == 202:
            assert repo.close(location, sha256(body)).status_code == 201


def _own_session(server: Server) -> Server:
    """The same server with connections of one thread."""
    return Server(
        server.directory, server.arguments, server.env, server.process, server.url, server.port
    )
