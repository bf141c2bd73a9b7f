"""What was purged: 403 for every verb on every server of the storage, within seconds."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import requests

from backends import Backend, open_backend, put
from distserver.oci.digests import Digest
from distserver.registry import layout
from tests.figures import record
from tests.live import Server, places, storage_flags, wait_for
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
)

pytestmark = pytest.mark.files

LAYER = b"a key that nobody should have seen" * 1000
FRESH_SECONDS = 2.0


def purge(repo: Repository, *digests: str) -> None:
    """By the command, beside the running servers."""
    named = [part for digest in digests for part in ("--digest", digest)]
    state = repo.server.directory / "state"
    flags = storage_flags(repo.server.directory.parent / "storage")
    command = [sys.executable, "-m", "distserver", "purge", "--yes", *named, *flags]
    subprocess.run([*command, "--state", state], check=True, capture_output=True, timeout=60)


def storage(repo: Repository) -> Backend:
    """The storage of both servers."""
    return open_backend(*places(repo.server.directory.parent / "storage"))


def denied(answer: requests.Response) -> bool:
    """Whether it is the answer for what was purged, which names it."""
    assert answer.status_code == 403, (answer.status_code, answer.text)
    if answer.request.method == "HEAD":
        return True
    assert "was purged here" in answer.json()["errors"][0]["message"]
    return code(answer) == "DENIED"


def test_each_verb_on_each_server(both: list[Repository]) -> None:
    repo, elsewhere = both
    layer = repo.push_blob(LAYER)
    whole = image(layers=[descriptor(LAYER)])
    secret = image(annotations={"password": "hunter2"})
    repo.push("whole", whole)
    manifest = repo.push("secret", secret)
    for server in both:  # both have it in memory
        assert server.get(f"blobs/{layer}").content == LAYER
        assert server.get("manifests/secret").content == secret
    open_session = repo.begin()
    assert repo.patch(open_session, LAYER).status_code == 202

    purge(repo, layer, manifest)
    for server in both:
        assert_denied(server, layer, manifest, whole, secret)
    assert denied(repo.close(open_session, layer))
    assert repo.get(open_session).status_code == 404  # its bytes went with it
    assert not [key for key in storage(repo).keys("blobs/") if key.endswith(layer[7:])]
    assert elsewhere.get(f"blobs/{sha256(EMPTY)}").content == EMPTY
    assert elsewhere.push("good", image(annotations={"n": "2"}))
    assert "secret" not in elsewhere.get("tags/list").json()["tags"]

    put(storage(repo), layout.blob(Digest.parse(layer)), LAYER)  # as a returning copy does
    for server in both:
        assert denied(server.get(f"blobs/{layer}"))


def assert_denied(repo: Repository, layer: str, manifest: str, whole: bytes, secret: bytes) -> None:
    """Pulls, pushes and references."""
    for path in (f"blobs/{layer}", f"manifests/{manifest}", "manifests/secret"):
        for method in ("GET", "HEAD"):
            assert denied(repo.ask(method, path)), (method, path)
    assert denied(repo.get(f"blobs/{layer}", headers={"Range": "bytes=5-9"}))
    assert denied(repo.ask("POST", "blobs/uploads/", params={"digest": layer}, data=LAYER))
    assert denied(repo.close(repo.begin(), layer, LAYER))
    assert denied(repo.patch(repo.begin(), LAYER))
    location = repo.begin()
    assert repo.patch(location, LAYER[:9]).status_code == 202
    assert denied(repo.close(location, layer, LAYER[9:]))
    for source in ({"from": repo.name}, {}):
        assert denied(repo.ask("POST", "blobs/uploads/", params={"mount": layer, **source}))
    assert denied(repo.put("secret", secret))
    assert denied(repo.put("again", whole))
    assert denied(repo.put("index", index(descriptor(secret, MANIFEST)), INDEX))


def test_the_other_server_hears_of_it_within_seconds(both: list[Repository]) -> None:
    repo, elsewhere = both
    layer = repo.push_blob(b"spilled" * 1000)
    assert elsewhere.get(f"blobs/{layer}").status_code == 200
    put(storage(repo), layout.denied(Digest.parse(layer)), b"{}")
    began = time.monotonic()
    wait_for(lambda: elsewhere.get(f"blobs/{layer}").status_code == 403, 10, "denial")
    seconds = time.monotonic() - began
    assert seconds < FRESH_SECONDS + 1
    record(
        "data spill",
        "an entry of the deny list is written while a blob is pulled without a pause",
        "other servers stop within seconds",
        f"the last pull {seconds:.1f} s after it",
    )


def test_a_server_erases_what_comes_back(start: Callable[..., Server]) -> None:
    server = start(None, "--workers", "1", env={"DISTSERVER_UPLOAD_EXPIRY_SECONDS": "10"})
    files, digest = open_backend(*places(server.storage)), Digest.of(LAYER)
    put(files, layout.denied(digest), b"{}")
    put(files, layout.blob(digest), LAYER)
    wait_for(lambda: not list(files.keys("blobs/")), 30, "an end of the blob")
    wait_for(lambda: "was purged and came back" in server.log, 10, "a word of it")
