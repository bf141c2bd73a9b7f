"""What was purged is not brought back from its upstream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends import open_backend
from distserver.config import UpstreamConfig
from distserver.oci.digests import Digest
from distserver.registry.denied import Denial, DenyList
from tests.live import wait_for
from tests.proxy.scripted import Asked, Reply
from tests.proxy.world import CONFIG, LAYER, TAG, World, digest, image, pull, world

BLOB = f"/v2/up.site/team/app/blobs/{digest(LAYER)}"


@pytest.fixture
def w(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("distserver.registry.denied.FRESH_SECONDS", 0.0)
    with world(tmp_path, UpstreamConfig(tag_ttl_seconds=0)) as made:
        yield made


def deny(w: World, *contents: bytes) -> None:
    denied = DenyList(open_backend(str(w.state.parent / "storage")))
    for data in contents:
        denied.add(Denial(Digest.of(data)))


def stored(w: World) -> set[str]:
    return {path.name for path in (w.state.parent / "storage").glob("blobs/*/*/*")}


def test_a_blob_is_neither_asked_for_nor_kept(w: World) -> None:
    deny(w, LAYER)
    status, body, _ = w.get(TAG)
    assert (status, body) == (200, w.manifests["v1"])
    for method in ("GET", "HEAD"):
        assert w.get(BLOB, method)[0] == 403
    assert b"was purged here" in w.get(BLOB)[1]
    w.complete()
    assert not [asked.path for asked in w.upstream.asked if digest(LAYER) in asked.path]
    assert digest(CONFIG)[7:] in stored(w)
    assert digest(LAYER)[7:] not in stored(w)


def test_the_rest_of_an_image_comes_all_the_same(w: World) -> None:
    deny(w, CONFIG)
    assert [w.get(TAG)[0] for _ in ("as it comes", "as it is held")] == [200, 200]
    w.complete()
    assert digest(LAYER)[7:] in stored(w)
    assert digest(CONFIG)[7:] not in stored(w)


def test_a_blob_that_no_manifest_named_here_is_not_asked_for_either(w: World) -> None:
    deny(w, LAYER)
    assert w.get(BLOB)[0] == 403
    assert w.upstream.asked == []


def test_a_manifest_is_not_kept_by_tag_nor_by_digest(w: World) -> None:
    manifest = w.manifests["v1"]
    deny(w, manifest)
    by_digest = f"/v2/up.site/team/app/manifests/{digest(manifest)}"
    assert (w.get(TAG)[0], w.get(by_digest)[0]) == (403, 403)
    assert not any(digest(manifest) in path for path in w.gets)
    assert stored(w) == set()


def test_a_tag_goes_on_with_what_its_upstream_names_instead(w: World) -> None:
    pull(w)
    deny(w, w.manifests["v1"])
    assert w.get(TAG)[0] == 403
    w.down = 503
    assert w.get(TAG)[0] in (403, 503)
    w.down, new = 0, w.tag("v1", image(annotations={"n": "2"}))
    wait_for(lambda: w.get(TAG)[0] == 200, 10, "the new image")
    assert w.get(TAG)[1] == new


def test_a_tag_that_moved_to_it_names_what_it_named_before(w: World) -> None:
    pull(w)
    old, spilled = w.manifests["v1"], image(annotations={"password": "hunter2"})
    deny(w, spilled)
    w.tag("v1", spilled)
    status, body, headers = w.get(TAG)
    assert (status, body) == (200, old)
    assert "purged" in headers["Warning"]
    assert not any(digest(spilled) in path for path in w.gets)


def test_what_is_held_goes_and_what_is_on_its_way_too(w: World) -> None:
    pull(w)
    partial = w.state / "partial" / "up.site" / digest(CONFIG).replace(":", "-")
    partial.mkdir(parents=True)
    for name in ("data", "lock"):
        (partial / name).write_bytes(b"")
    deny(w, LAYER, CONFIG)
    assert w.get(BLOB)[0] == 403
    assert not partial.exists()


def test_a_fetch_under_way_stops_and_leaves_nothing(w: World) -> None:
    """Its reader is cut short: it never gets the whole."""
    script = w.script

    def denies_in_the_middle(asked: Asked) -> Reply:
        if digest(LAYER) in asked.path and asked.method == "GET":
            deny(w, LAYER)
        return script(asked)

    w.script = denies_in_the_middle  # type: ignore[method-assign]
    assert w.get(TAG)[0] == 200
    try:
        status, body, _ = w.get(BLOB)
    except OSError:
        status, body = 0, b""
    assert status != 200 or body != LAYER
    wait_for(lambda: not list(w.state.glob("partial/*/sha256-*")), 10, "an end of the fetch")
    assert digest(LAYER)[7:] not in stored(w)
