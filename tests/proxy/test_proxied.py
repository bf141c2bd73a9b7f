"""The proxy around a registry: what is held, what is not, what the upstream says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from distserver.config import UpstreamConfig
from distserver.oci.digests import Digest
from distserver.oci.manifests import OCI_MANIFEST
from distserver.registry import layout
from tests.proxy.world import CONFIG, LAYER, TAG, World, digest, image, pull, world


@pytest.fixture(params=[0, 300], ids=["always ask", "fresh for 300 s"])
def ttl(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def w(tmp_path: Path, ttl: int) -> Iterator[World]:
    table = UpstreamConfig(deny=("no/*",), tag_ttl_seconds=ttl)
    with world(tmp_path, table) as made:
        yield made


def test_an_image_is_fetched_once_whatever_it_is_called(w: World) -> None:
    pull(w)
    pull(w, "/v2/team/app", "?ns=up.site")
    assert sorted(set(w.gets)) == sorted(w.gets)
    assert len(w.gets) == 3


def test_PT_01_PT_02_what_is_held_pulls_when_the_upstream_is_down(w: World, ttl: int) -> None:
    pull(w)
    w.down = 503
    before = len(w.upstream.asked)
    for _ in range(10):
        pull(w)
        by_digest = f"/v2/up.site/team/app/manifests/{digest(w.manifests['v1'])}"
        assert w.get(by_digest)[0] == 200
    asked = len(w.upstream.asked) - before
    assert asked == 0 if ttl else asked <= 3  # the breaker opens
    warning = w.get(TAG)[2].get("Warning", "")
    assert warning.startswith('299 - "stale: ') if not ttl else not warning


def test_a_tag_that_moved_is_fetched_when_it_is_not_fresh(w: World, ttl: int) -> None:
    pull(w)
    old, new = w.manifests["v1"], w.tag("v1", image(annotations={"n": "2"}))
    status, body, _ = w.get(TAG)
    assert (status, body) == (200, old if ttl else new)
    assert w.get(f"/v2/up.site/team/app/manifests/{digest(old)}")[0] == 200


@pytest.mark.parametrize(
    ("down", "status"), [(503, 503), (500, 503), (429, 503), (403, 403), (404, 404)]
)
def test_PT_06_what_is_not_held(w: World, down: int, status: int) -> None:
    w.down = down
    for path in (TAG, f"/v2/up.site/team/app/blobs/{digest(LAYER)}"):
        answer = w.get(path)
        assert answer[0] == status
        assert ("Retry-After" in answer[2]) == (status == 503)
        assert json.loads(answer[1])["errors"][0]["code"]


def test_PT_07_a_404_is_remembered_for_a_moment_and_nothing_else_is(w: World) -> None:
    missing = TAG.replace("v1", "nothing")
    assert [w.get(missing)[0] for _ in range(5)] == [404] * 5
    assert len(w.gets) == 1
    w.down = 500
    assert w.get(TAG)[0] == 503
    w.down = 0
    assert w.get(TAG)[0] == 200


def test_PT_03_a_tag_that_is_gone_upstream_is_still_served(w: World, ttl: int) -> None:
    pull(w)
    w.down = 404
    status, body, headers = w.get(TAG)
    assert (status, body) == (200, w.manifests["v1"])
    assert ("Warning" in headers) == (not ttl)


def test_PT_15_bytes_are_shared_and_rights_are_not(w: World) -> None:
    pull(w)
    path = f"/v2/up.site/team/other/blobs/{digest(LAYER)}"
    assert w.get(path)[0] == 404
    assert w.upstream.asked[-1].method == "HEAD"
    assert w.get(f"/v2/site/own/blobs/{digest(LAYER)}")[0] == 404


def test_denied_and_foreign_names_are_never_dialled(w: World) -> None:
    assert w.get("/v2/up.site/no/secret/manifests/v1")[0] == 404
    assert w.get("/v2/a/b/manifests/v1?ns=evil.example")[0] == 404
    assert w.get("/v2/site/app/manifests/v1")[0] == 404
    assert w.upstream.asked == []


def test_a_corrupt_blob_is_never_completed_nor_asked_for_again_at_once(w: World) -> None:
    path = f"/v2/up.site/team/app/blobs/{digest(LAYER)}"
    w.blobs[digest(LAYER)] = LAYER[:-1] + b"x"
    for _ in range(3):
        try:
            status, body, _ = w.get(path)
        except Exception as exc:  # a server would cut the connection here
            assert "wrong" in str(exc) or "not those" in str(exc)
        else:
            assert status == 503 or len(body) < len(LAYER)
    assert len([p for p in w.gets if "blobs" in p]) == 1


def test_a_blob_of_another_size_than_its_manifest_says_is_refused_before_a_byte(w: World) -> None:
    w.get(TAG)
    w.blobs[digest(LAYER)] = LAYER + b"more"
    assert w.get(f"/v2/up.site/team/app/blobs/{digest(LAYER)}")[0] == 503


def test_a_head_tells_size_and_type_and_fetches_no_blob(w: World) -> None:
    status, body, headers = w.get(TAG, "HEAD")
    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == str(len(w.manifests["v1"]))


def test_a_tag_that_was_pushed_here_is_pinned(w: World) -> None:
    """Also when the same bytes had been pulled before."""
    pull(w)
    with w.ours.put(TAG, data=w.manifests["v1"], content_type=OCI_MANIFEST) as response:
        assert response.status_code == 201
    pushed = w.manifests["v1"]
    w.tag("v1", image(annotations={"n": "2"}))
    for _ in range(2):
        assert w.get(TAG)[:2] == (200, pushed)


def test_a_pinned_tag_is_not_replaced_while_its_manifest_has_not_arrived(w: World) -> None:
    """It was pushed at another node, from where the storage is copied."""
    pull(w)
    pinned = w.manifests["v1"]
    w.ours.put(TAG, data=pinned, content_type=OCI_MANIFEST).close()
    w.tag("v1", image(annotations={"n": "2"}))
    records = layout.manifest_records("up.site/team/app", Digest.parse(digest(pinned)))
    directory = Path(w.app.extensions["distserver.config"].storage[0]) / records
    elsewhere = directory.with_name("elsewhere")
    directory.rename(elsewhere)
    asked = len(w.upstream.asked)
    assert w.get(TAG)[0] == 503
    assert len(w.upstream.asked) == asked
    elsewhere.rename(directory)
    assert w.get(TAG)[:2] == (200, pinned)


def test_a_pinned_tag_that_is_deleted_is_the_upstream_s_again(w: World) -> None:
    pull(w)
    w.ours.put(TAG, data=w.manifests["v1"], content_type=OCI_MANIFEST).close()
    new = w.tag("v1", image(annotations={"n": "2"}))
    assert w.get(TAG, "DELETE")[0] == 202
    assert w.get(TAG)[:2] == (200, new)


def test_a_push_brings_what_is_not_held_here_whatever_the_upstream_has(w: World) -> None:
    """To who may push, HEAD tells what is here: else a push would end with a layer missing."""
    path = f"/v2/up.site/team/app/blobs/{digest(LAYER)}"
    assert w.get(path, "HEAD")[0] == 404
    assert w.upstream.asked == []


def test_lists_of_tags_are_those_of_both(w: World) -> None:
    pull(w)
    w.ours.put(TAG.replace("v1", "ours"), data=w.manifests["v1"], content_type=OCI_MANIFEST).close()
    w.tag("v2", image())
    path = "/v2/up.site/team/app/tags/list"
    assert json.loads(w.get(path)[1])["tags"] == ["ours", "v1", "v2"]
    w.down = 503
    assert json.loads(w.get(path)[1])["tags"] == ["ours", "v1"]
    assert w.get("/v2/up.site/team/never/tags/list")[0] == 503
    w.down = 404
    assert w.get("/v2/up.site/team/never/tags/list")[0] == 404


def test_what_a_client_gets_comes_with_the_namespace(w: World) -> None:
    query = "?ns=up.site"
    status, _, headers = w.get(f"/v2/team/app/manifests/v1{query}")
    assert (status, headers["OCI-Namespace"]) == (200, "up.site")
    place = w.get(f"/v2/team/app/blobs/uploads/{query}", "POST")[2]["Location"]
    status, _, _ = w.get(f"{place}{query}&digest={digest(CONFIG)}", "PUT", data=CONFIG)
    assert status == 201
