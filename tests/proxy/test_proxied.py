"""The proxy around a registry, asked over its API: what is held, what is not, what is upstream."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from backends import Memory
from distserver.api import create_api
from distserver.api.access import ALL, Access
from distserver.oci.manifests import OCI_MANIFEST
from distserver.proxy import flights
from distserver.proxy.namespaces import Namespaces
from distserver.proxy.registry import proxied
from distserver.proxy.upstreams import Upstream, Upstreams
from distserver.registry import local_registry
from tests.live import wait_for
from tests.proxy.scripted import Asked, Reply, Scripted, a_session, client, scripted


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


CONFIG, LAYER = b"{}", bytes(range(256)) * 1000


def image(**more: object) -> bytes:
    def item(data: bytes) -> dict[str, object]:
        return {"mediaType": "application/x", "digest": digest(data), "size": len(data)}

    value = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": item(CONFIG)}
    return json.dumps({**value, "layers": [item(LAYER)], **more}).encode()


class World:
    """A registry upstream with one image, and ours before it.

    down  status that the upstream answers everything with, 0 = it works
    """

    def __init__(self) -> None:
        self.down = 0
        self.manifest = image()
        self.blobs = {digest(data): data for data in (CONFIG, LAYER)}
        self.upstream: Scripted
        self.ours: FlaskClient

    def script(self, asked: Asked) -> Reply:
        if self.down:
            return self.down, {}, b""
        name, _, rest = asked.path.removeprefix("/v2/").partition("/manifests/")
        if name == "team/app" and rest in ("v1", digest(self.manifest)):
            head = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": digest(self.manifest)}
            return 200, head, self.manifest
        name, _, rest = asked.path.removeprefix("/v2/").partition("/blobs/")
        if name == "team/app" and rest in self.blobs:
            return 200, {}, self.blobs[rest]
        return 404, {}, b""

    def get(self, path: str, method: str = "GET") -> tuple[int, bytes, dict[str, str]]:
        with self.ours.open(path, method=method) as response:
            return response.status_code, response.get_data(), dict(response.headers)

    @property
    def gets(self) -> list[str]:
        return [asked.path for asked in self.upstream.asked if asked.method == "GET"]


@pytest.fixture(params=[0.0, 300.0], ids=["always ask", "fresh for 300 s"])
def ttl(request: pytest.FixtureRequest) -> float:
    return float(request.param)


@pytest.fixture
def world(tmp_path: Path, ttl: float) -> Iterator[World]:
    made = World()
    with a_session() as session, scripted(made.script) as upstream:
        made.upstream = upstream
        upstreams = Upstreams({"up.site": Upstream("up.site", (upstream.url,), deny=("no/*",))})
        registry = proxied(
            local_registry(Memory()),
            upstreams,
            lambda one: client(session, list(one.urls)),
            tmp_path,
            ttl,
        )
        app = Flask("test")
        create_api(app, registry, Access(None, ALL), deletes_enabled=True)
        app.wsgi_app = Namespaces(app.wsgi_app, upstreams, [])  # type: ignore[method-assign]
        made.ours = app.test_client()
        yield made


def whole(world: World) -> None:
    """Wait until the background has brought everything."""
    wanted = {f"/v2/team/app/blobs/{d}" for d in world.blobs}
    wait_for(lambda: wanted <= set(world.gets), 10, "completion")


def pull(world: World, prefix: str = "/v2/up.site/team/app", query: str = "") -> None:
    status, body, headers = world.get(f"{prefix}/manifests/v1{query}")
    assert (status, body) == (200, world.manifest)
    assert headers["Docker-Content-Digest"] == digest(world.manifest)
    for data in (CONFIG, LAYER):
        status, body, _ = world.get(f"{prefix}/blobs/{digest(data)}{query}")
        assert (status, body) == (200, data)


def test_an_image_is_fetched_once_whatever_it_is_called(world: World) -> None:
    pull(world)
    pull(world, "/v2/team/app", "?ns=up.site")
    assert sorted(set(world.gets)) == sorted(world.gets)
    assert len(world.gets) == 3


def test_PT_01_PT_02_what_is_held_pulls_when_the_upstream_is_down(world: World, ttl: float) -> None:
    pull(world)
    world.down = 503
    before = len(world.upstream.asked)
    for _ in range(10):
        pull(world)
        path = f"/v2/up.site/team/app/manifests/{digest(world.manifest)}"
        assert world.get(path)[0] == 200
    asked = len(world.upstream.asked) - before
    assert asked == 0 if ttl else asked <= 4  # the breaker opens
    warning = world.get("/v2/up.site/team/app/manifests/v1")[2].get("Warning", "")
    assert warning.startswith("299 - ") if not ttl else not warning


def test_a_tag_that_moved_is_fetched_when_it_is_not_fresh(world: World, ttl: float) -> None:
    pull(world)
    old, world.manifest = world.manifest, image(annotations={"n": "2"})
    status, body, _ = world.get("/v2/up.site/team/app/manifests/v1")
    assert (status, body) == (200, old if ttl else world.manifest)
    assert world.get(f"/v2/up.site/team/app/manifests/{digest(old)}")[0] == 200


@pytest.mark.parametrize(
    ("down", "status"), [(503, 503), (500, 503), (429, 503), (403, 403), (404, 404)]
)
def test_PT_06_what_is_not_held(world: World, down: int, status: int) -> None:
    world.down = down
    answer = world.get("/v2/up.site/team/app/manifests/v1")
    assert answer[0] == status
    assert ("Retry-After" in answer[2]) == (status == 503)
    assert json.loads(answer[1])["errors"][0]["code"]


def test_PT_03_a_tag_that_is_gone_upstream_is_still_served(world: World) -> None:
    pull(world)
    world.down = 404
    assert world.get("/v2/up.site/team/app/manifests/v1")[:2] == (200, world.manifest)


def test_PT_15_bytes_are_shared_and_rights_are_not(world: World) -> None:
    pull(world)
    path = f"/v2/up.site/team/other/blobs/{digest(LAYER)}"
    assert world.get(path)[0] == 404
    assert world.upstream.asked[-1].method == "HEAD"
    assert world.get(f"/v2/site/own/blobs/{digest(LAYER)}")[0] == 404


def test_denied_and_foreign_names_are_never_dialled(world: World) -> None:
    assert world.get("/v2/up.site/no/secret/manifests/v1")[0] == 404
    assert world.get("/v2/a/b/manifests/v1?ns=evil.example")[0] == 404
    assert world.get("/v2/site/app/manifests/v1")[0] == 404
    assert world.upstream.asked == []


def test_a_corrupt_blob_is_never_completed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "FIRST_SECONDS", 2.0)
    pulled = f"/v2/up.site/team/app/blobs/{digest(LAYER)}"
    world.blobs[digest(LAYER)] = LAYER[:-1] + b"x"
    world.get("/v2/up.site/team/app/manifests/v1")
    try:
        status, body, _ = world.get(pulled)
    except Exception as exc:
        assert "digest" in str(exc)  # the server would cut the connection here
    else:
        assert status == 503 or len(body) < len(LAYER)
    world.blobs[digest(LAYER)] = LAYER
    assert world.get(pulled)[:2] == (200, LAYER)


def test_a_head_tells_size_and_type(world: World) -> None:
    status, body, headers = world.get("/v2/up.site/team/app/manifests/v1", "HEAD")
    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == str(len(world.manifest))
    status, _, headers = world.get(f"/v2/up.site/team/app/blobs/{digest(LAYER)}", "HEAD")
    assert (status, headers["Content-Length"]) == (200, str(len(LAYER)))


def test_a_tag_that_was_pushed_here_is_pinned(world: World) -> None:
    """Also when the same bytes had been pulled before."""
    pull(world)
    path = "/v2/up.site/team/app/manifests/v1"
    with world.ours.put(path, data=world.manifest, content_type=OCI_MANIFEST) as response:
        assert response.status_code == 201
    pushed, world.manifest = world.manifest, image(annotations={"n": "2"})
    assert world.get(path)[:2] == (200, pushed)


def test_PT_17_what_was_begun_is_completed(world: World) -> None:
    """The manifest is asked for, then the link is cut: the layers are here all the same."""
    world.get("/v2/up.site/team/app/manifests/v1")
    whole(world)
    path = f"/v2/up.site/team/app/blobs/{digest(LAYER)}"
    wait_for(lambda: world.get(path, "HEAD")[0] == 200, 10, "layer")
    world.down = 503
    pull(world)


def test_P_01_an_incomplete_manifest_is_not_offered_while_its_upstream_is_away(
    world: World,
) -> None:
    """podman would stay with us and fail; with 503 it goes to its next mirror."""
    kept, world.blobs = world.blobs, {}
    path = "/v2/up.site/team/app/manifests/v1"
    assert world.get(path)[0] == 200
    world.down = 503
    statuses = wait_for(lambda: (s := world.get(path)[0]) == 503 and [s], 20, "refusal")
    assert statuses == [503]
    world.down, world.blobs = 0, kept
