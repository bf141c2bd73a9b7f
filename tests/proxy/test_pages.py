"""A captive portal answers every question with a web page: nothing of it is believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from distserver.config import UpstreamConfig
from tests.proxy.scripted import Asked, Reply
from tests.proxy.world import LAYER, TAG, World, digest, pull, world

BLOB = f"/v2/up.site/team/app/blobs/{digest(LAYER)}"
HONOURING = UpstreamConfig(tag_ttl_seconds=0, honour_deletes=True)


def portal(w: World, status: int) -> None:
    """Let the upstream answer everything with a page from now on."""
    page = b"<html>please log in</html>"
    w.script = lambda _: (status, {"Content-Type": "text/html"}, page)  # type: ignore[method-assign]


@pytest.mark.parametrize("status", [200, 404])
def test_what_is_not_held_is_unavailable_never_absent(tmp_path: Path, status: int) -> None:
    with world(tmp_path, listen="0.0.0.0:5000") as w:  # who may push is told what is held
        portal(w, status)
        for method in ("HEAD", "GET"):
            assert w.get(BLOB, method)[0] == 503
            assert w.get(TAG, method)[0] == 503
    assert not list(tmp_path.glob("storage/repositories/**/_blobs/*"))


def test_a_page_deletes_no_tag(tmp_path: Path) -> None:
    with world(tmp_path, HONOURING) as w:
        pull(w)
        portal(w, 404)
        status, body, headers = w.get(TAG)
        assert (status, body) == (200, w.manifests["v1"])
        assert "stale" in headers["Warning"]


def test_a_registry_that_calls_its_404_a_page_on_HEAD_only_is_believed(tmp_path: Path) -> None:
    with world(tmp_path, listen="0.0.0.0:5000") as w:
        script = w.script

        def dressed(asked: Asked) -> Reply:
            status, headers, body = script(asked)
            page = {"Content-Type": "text/html"} if asked.method == "HEAD" else {}
            return status, {**headers, **page} if status == 404 else headers, body

        w.script = dressed  # type: ignore[method-assign]
        assert w.get(BLOB.replace(digest(LAYER), "sha256:" + "a" * 64), "HEAD")[0] == 404
