"""Damaged copies of what an upstream has: a fetch replaces them, and so does `verify --repair`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from distserver import app
from distserver.cli import main
from distserver.config import Config
from distserver.oci.digests import Digest
from distserver.oci.names import Tag
from distserver.registry import layout, verify
from tests.live import wait_for
from tests.proxy.world import CONFIG, LAYER, TAG, World, digest, image, pull, world

BLOB = f"/v2/up.site/team/app/blobs/{digest(LAYER)}"


@pytest.fixture(params=[1, 3], ids=["a directory", "a set"])
def w(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    places = tuple(str(tmp_path / f"storage{n}") for n in range(request.param))
    with world(tmp_path, storage=places, tag_ttl_seconds=-1, hot_bytes=0) as made:
        pull(made)
        wait_for(lambda: all_good(made, LAYER, CONFIG, made.manifests["v1"]), 20, "all copies")
        yield made


def config_of(w: World) -> Config:
    config: Config = w.app.extensions["distserver.config"]
    return config


def files(w: World, data: bytes) -> list[Path]:
    """All copies of some content."""
    key = layout.blob(Digest.parse(digest(data)))
    return [Path(place) / key for place in config_of(w).storage]


def spoil(w: World, *contents: bytes) -> None:
    """Damage each copy."""
    for data in contents:
        for path in files(w, data):
            path.write_bytes(data[:-1] + b"?")


def all_good(w: World, *contents: bytes) -> bool:
    paths = [(path, data) for data in contents for path in files(w, data)]
    return all(path.exists() and path.read_bytes() == data for path, data in paths)


def become_good(w: World, *contents: bytes) -> bool:
    """Soon: two of three copies are enough for a fetch."""
    return wait_for(lambda: all_good(w, *contents), 20, "good copies")


def test_a_fetch_replaces_a_damaged_blob(w: World) -> None:
    spoil(w, LAYER)
    with pytest.raises(Exception, match=digest(LAYER)):
        app.open_registry(config_of(w)).content.verify(Digest.parse(digest(LAYER)))
    assert w.get(BLOB)[:2] == (200, LAYER)
    assert become_good(w, LAYER)
    before = len(w.gets)
    assert w.get(BLOB)[:2] == (200, LAYER)
    assert len(w.gets) == before, "the good copy is served"


def test_a_fetch_replaces_a_damaged_manifest(w: World) -> None:
    """Asked by a server that does not remember it."""
    manifest = w.manifests["v1"]
    spoil(w, manifest)
    fresh = app.create_app(config_of(w)).test_client()
    for path in (TAG.replace("v1", digest(manifest)), TAG):
        with fresh.get(path) as answer:
            assert (answer.status_code, answer.get_data()) == (200, manifest)
    assert become_good(w, manifest)


def run(w: World, *arguments: str) -> tuple[int, str]:
    config = config_of(w)
    (table,) = [config.upstream["up.site"]]
    file = w.state.parent / "config.toml"
    file.write_text(
        f"storage = {json.dumps(config.storage)}\nstate = {json.dumps(config.state)}\n"
        f'reserve_bytes = 0\n[upstream."up.site"]\nurl = {json.dumps(table.url)}\ninsecure = true\n'
    )
    done = CliRunner().invoke(main, [*arguments, "--config", str(file)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_verify_mends_from_the_upstream(w: World) -> None:
    manifest = w.manifests["v1"]
    contents = (LAYER, CONFIG, manifest)
    spoil(w, LAYER, manifest)
    for path in files(w, CONFIG):
        path.write_bytes(b"?" * 2)
    code, told = run(w, "verify", "--repair")
    assert code == 0, told
    assert told.count("from the upstream up.site") == 3
    assert become_good(w, *contents)
    assert run(w, "verify")[0] == 0


def test_verify_tells_what_it_cannot_mend(w: World) -> None:
    spoil(w, LAYER)
    w.blobs.clear()
    code, told = run(w, "verify", "--repair")
    assert code == 1
    assert "DAMAGED  up.site/team/app:v1" in told


def test_nothing_is_fetched_while_offline(w: World) -> None:
    spoil(w, LAYER)
    w.switch("offline")
    before = len(w.upstream.asked)
    assert run(w, "verify", "--repair")[0] == 1
    assert len(w.upstream.asked) == before


def test_a_lost_layer_of_a_pushed_image_comes_from_the_upstream_of_its_name(w: World) -> None:
    registry, name = app.open_registry(config_of(w)), "up.site/team/app"
    registry.manifests.put(name, None, [Tag("mine")], image(LAYER, annotations={"a": "b"}), None)
    for path in files(w, LAYER):
        path.unlink()
    (lost,) = [str(p) for found in verify.images(registry, {}) for p in found.problems]
    assert lost == f"{digest(LAYER)}: not here"
    code, told = run(w, "verify", "--repair")
    assert (code, told.count("from the upstream up.site")) == (0, 1), told
    assert become_good(w, LAYER)
