"""A storage that is full, dead or damaged never turns a good upstream into a failure."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.errors import Full
from distserver.config import UpstreamConfig
from distserver.oci.manifests import OCI_MANIFEST
from tests.proxy.world import LAYER, TAG, World, digest, image, pull, world


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, UpstreamConfig(tag_ttl_seconds=0)) as made:
        yield made


def storage(w: World) -> Path:
    return w.state.parent / "storage"


def away(w: World) -> None:
    """Unmount the storage, so to speak."""
    storage(w).rename(storage(w).with_name("elsewhere"))


def test_a_storage_that_is_away_is_passed_by(w: World) -> None:
    away(w)
    pull(w)
    pull(w)
    assert not storage(w).exists()
    w.down = 503
    assert w.get(TAG)[0] == 503
    w.down = 404
    assert w.get(TAG)[0] == 503  # it may be one of our own: nobody knows


def test_what_is_held_comes_through_while_the_storage_is_away_and_after(w: World) -> None:
    pull(w)
    away(w)
    pull(w)
    storage(w).with_name("elsewhere").rename(storage(w))
    w.down = 503
    pull(w)


def test_a_pinned_tag_is_not_replaced_by_the_upstream_s_while_the_storage_is_away(
    w: World,
) -> None:
    pull(w)
    w.ours.put(TAG, data=w.manifests["v1"], content_type=OCI_MANIFEST).close()
    w.tag("v1", image(annotations={"n": "2"}))
    away(w)
    assert w.get(TAG)[0] == 503


def test_a_damaged_blob_is_mended_from_the_upstream(w: World) -> None:
    pull(w)
    (path,) = storage(w).glob(f"blobs/sha256/*/{digest(LAYER)[7:]}")
    path.write_bytes(b"x" + LAYER[1:])
    blob = f"/v2/up.site/team/app/blobs/{digest(LAYER)}"
    wrong = 0
    for _ in range(3):
        try:
            status, body, _ = w.get(blob)
        except Exception:  # a server would cut the connection here
            wrong += 1
        else:
            assert (status, body) == (200, LAYER)
    assert wrong <= 1
    w.down = 503
    assert w.get(blob)[:2] == (200, LAYER)


def test_a_damaged_manifest_is_mended_from_the_upstream(w: World) -> None:
    pull(w)
    hexes = digest(w.manifests["v1"])[7:]
    (path,) = storage(w).glob(f"blobs/sha256/*/{hexes}")
    path.write_bytes(b"x" + w.manifests["v1"][1:])
    with world(w.state.parent, UpstreamConfig(tag_ttl_seconds=0)) as fresh:  # nothing in memory
        assert fresh.get(TAG)[:2] == (200, w.manifests["v1"])
    assert path.read_bytes() == w.manifests["v1"]


def test_a_full_storage_is_passed_by(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from backends.filesystem import Filesystem

    def full(*_: object) -> None:
        raise Full("no room")

    monkeypatch.setattr(Filesystem, "create", full)
    monkeypatch.setattr(Filesystem, "adopt", full)
    monkeypatch.setattr(Filesystem, "link", full)
    pull(w)
    pull(w)
    blobs = [path for path in w.gets if "/blobs/" in path]
    assert len(blobs) == 2  # kept beside the storage


def test_a_state_directory_that_is_away_is_passed_by(w: World) -> None:
    shutil.rmtree(w.state)
    w.state.write_text("no directory")
    pull(w)
    assert sum("/blobs/" in path for path in w.gets) >= 2
