"""Redirects to the object store: only where they are set up, never for a mirror's clients."""

from __future__ import annotations

from pathlib import Path

import requests

from tests.faults.images import digest_of, live, make_image, push
from tests.live import running, start_server
from tests.objects.servers import ObjectStore

LARGE, SMALL = make_image("large", 1 << 20), make_image("small", (1 << 20) - 1)


def test_large_blobs_are_fetched_from_the_store_itself(store: ObjectStore, tmp_path: Path) -> None:
    public = store.endpoint.replace("127.0.0.1", "localhost")
    env = {"DISTSERVER_S3_REDIRECT_ENDPOINT": public}
    with running(start_server(tmp_path, "--workers", "1", storage=store.url(), env=env)) as server:
        call = live(server)
        for tag, image in (("large", LARGE), ("small", SMALL)):
            push(call, "docker.io/library/x", tag, image)
        path = f"/v2/docker.io/library/x/blobs/{digest_of(LARGE.layer)}"
        answer = call("GET", path)
        assert (answer.status, answer.body) == (307, b"")
        assert answer.headers["Location"].startswith(public + "/")
        got = requests.get(answer.headers["Location"], timeout=10)
        assert (got.status_code, got.content) == (200, LARGE.layer)
        ranged = {"Range": "bytes=5-9"}
        part = requests.get(answer.headers["Location"], headers=ranged, timeout=10)
        assert (part.status_code, part.content) == (206, LARGE.layer[5:10])
        assert call("HEAD", path).status == 200
        mirrored = f"/v2/library/x/blobs/{digest_of(LARGE.layer)}?ns=docker.io"
        assert call("GET", mirrored).body == LARGE.layer
        small = f"/v2/docker.io/library/x/blobs/{digest_of(SMALL.layer)}"
        assert call("GET", small).body == SMALL.layer


def test_nobody_is_redirected_without_a_word(store: ObjectStore, tmp_path: Path) -> None:
    with running(start_server(tmp_path, "--workers", "1", storage=store.url())) as server:
        push(live(server), "a/b", "large", LARGE)
        answer = live(server)("GET", f"/v2/a/b/blobs/{digest_of(LARGE.layer)}")
        assert (answer.status, answer.body) == (200, LARGE.layer)
