"""What goes, in which order, and what never does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.base import Space
from backends.errors import Unavailable
from distserver import naming
from distserver.evicting.evict import Evicted
from distserver.evicting.inuse import InUse, list_file
from distserver.evicting.pins import Pins
from distserver.evicting.standing import last_look
from distserver.oci.digests import Digest
from distserver.oci.manifests import OCI_MANIFEST, Manifest, parse_manifest
from distserver.oci.names import Tag
from distserver.proxy.fetching.partial import Partial
from distserver.registry import layout
from tests.evicting.cache import CAP_BYTES, NAME, Cache, cache
from tests.evicting.collecting import Failing
from tests.proxy.world import digest, image, index

MANY = [f"t{number:02}" for number in range(6)]
"""More than CAP_BYTES of images."""


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Cache]:
    with cache(tmp_path) as made:
        made.bring(*MANY)
        yield made


def test_the_least_recently_pulled_go_until_there_is_room(full: Cache) -> None:
    for tag in MANY[:3]:
        full.pull(tag)
    full.eviction.look()
    assert full.held() == {*MANY[:3], *MANY[5:]}
    assert not full.is_stored(full.layers[MANY[3]])
    assert full.eviction.standing.bytes <= 0.9 * CAP_BYTES
    assert full.eviction.standing.hindrance == ""
    full.eviction.look()
    assert full.held() == {*MANY[:3], *MANY[5:]}


def test_what_went_comes_back_when_asked(full: Cache) -> None:
    full.eviction.look()
    gone = set(MANY) - full.held()
    assert gone == set(MANY[:2])
    for tag in gone:
        full.pull(tag)


def test_below_the_cap_nothing_goes(tmp_path: Path) -> None:
    with cache(tmp_path) as made:
        made.bring(*MANY[:4])
        made.eviction.look()
        assert made.held() == set(MANY[:4])


def test_pins_keep(full: Cache) -> None:
    pins = Pins(full.registry.backend, full.registry.records)
    pins.add(f"{NAME}:t0[01]")
    pins.add(f"{NAME}@{digest(full.world.manifests[MANY[2]])}")
    full.eviction.look()
    assert set(MANY) - full.held() == {MANY[3], MANY[4]}


def test_what_runs_stays(tmp_path: Path) -> None:
    lines = tmp_path / "used"
    with cache(tmp_path, in_use_file=str(lines)) as made:
        made.bring(*MANY)
        by_digest = digest(made.world.manifests[MANY[1]])
        lines.write_text(f"up.site/team/app:{MANY[0]}  # here\nmirror/x@{by_digest}\n")
        made.eviction.look()
        assert set(MANY) - made.held() == {MANY[2], MANY[3]}


def test_nothing_goes_while_what_runs_was_never_known(tmp_path: Path) -> None:
    with cache(tmp_path, in_use_file=str(tmp_path / "used")) as made:
        made.bring(*MANY)
        made.eviction.look()
        assert made.held() == set(MANY)
        assert made.eviction.standing.reason == "unknown use"


def test_what_was_pushed_stays_and_a_push_meanwhile_too(full: Cache) -> None:
    manifests, gone = full.registry.manifests, {}
    for number, tag in enumerate(MANY[:2]):
        body = full.world.manifests[tag]
        manifests.put(NAME, None, [Tag(f"mine{number}")], body, OCI_MANIFEST)
        gone[tag] = Digest.of(body)
    full.bring("u1", "u2")
    full.eviction.look()
    assert {"mine0", "mine1"} <= full.held()
    assert not set(MANY[2:4]) & full.held()
    assert all(manifests.has(NAME, each) for each in gone.values())
    assert all(full.is_stored(full.layers[tag]) for tag in gone)


def test_a_push_after_the_look_survives(full: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the look saw is removed, and the blobs are given back."""
    parts = full.eviction._parts
    evict = parts.evictor.evict

    def pushing(*args: object) -> Evicted:
        body = full.world.manifests[MANY[0]]
        full.registry.manifests.put(NAME, None, [Tag("mine")], body, OCI_MANIFEST)
        return evict(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(parts.evictor, "evict", pushing)
    full.eviction.look()
    assert "mine" in full.held()
    assert full.registry.blobs.has(NAME, Digest.parse(digest(full.layers[MANY[0]])))
    assert full.is_stored(full.layers[MANY[0]])


@pytest.mark.parametrize("kind", ["offline", "down", "absent"])
def test_nothing_goes_that_could_not_come_back(full: Cache, kind: str) -> None:
    if kind == "offline":
        full.world.switch("offline")
    elif kind == "down":
        full.world.down = 503
    else:
        full.world.manifests.clear()
    full.eviction.look()
    assert full.held() == set(MANY)
    reasons = {"offline": "offline", "down": "unreachable", "absent": "absent"}
    found = last_look(full.world.state)
    assert found and found.reason == reasons[kind]
    assert full.is_stored(full.layers[MANY[0]])


def test_what_its_upstream_lost_stays_and_others_go(full: Cache) -> None:
    del full.world.manifests[digest(full.world.manifests[MANY[0]])]
    full.eviction.look()
    assert set(MANY) - full.held() == {MANY[1], MANY[2]}


def test_hindrance_is_said_once(full: Cache, caplog: pytest.LogCaptureFixture) -> None:
    full.world.switch("offline")
    for _ in range(3):
        full.eviction.look()
    said = [r for r in caplog.records if "images that should go stay" in r.message]
    assert len(said) == 1


def test_a_look_that_fails_lets_nothing_go(full: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = full.registry.records.read_tree

    def failing(prefix: str) -> object:
        if prefix == layout.manifests("up.site/zzz"):
            raise Unavailable("the storage does not answer")
        return tree(prefix)

    full.registry.manifests.keep(
        "up.site/zzz",
        Digest.of(image()),
        image(),
        _parsed(image()),
        [],
    )
    monkeypatch.setattr(full.registry.records, "read_tree", failing)
    full.eviction.look()
    assert full.held() == set(MANY)
    assert full.eviction.standing.reason == "error"


def test_a_manifest_that_cannot_be_read_lets_nothing_go(full: Cache) -> None:
    full.registry.backend.delete(layout.blob(Digest.of(full.world.manifests[MANY[5]])))
    full.made.registry.manifests._memory.forget([Digest.of(full.world.manifests[MANY[5]])])
    full.eviction.look()
    assert full.eviction.standing.reason == "error"
    assert all(full.is_stored(full.layers[tag]) for tag in MANY)


def signed(made: Cache) -> set[Digest]:
    """Pull an index, its member and its signature; return their digests."""
    made.offer("member")
    member = made.world.manifests["member"]
    top = made.world.tag("multi", index(amd64=member))
    signature = f"sha256-{digest(top)[7:]}.sig"
    made.world.tag(signature, image(b"signature"))
    for reference in ("multi", digest(member), signature):
        assert made.world.get(f"/v2/{NAME}/manifests/{reference}")[0] == 200
    return {Digest.of(each) for each in (top, member, made.world.manifests[signature])}


@pytest.mark.parametrize("pinned", [False, True])
def test_an_index_goes_and_stays_with_its_members_and_signatures(
    tmp_path: Path, pinned: bool
) -> None:
    with cache(tmp_path) as made:
        whole = signed(made)
        if pinned:
            Pins(made.registry.backend, made.registry.records).add(f"{NAME}:multi")
        made.bring(*MANY)
        made.eviction.look()
        assert MANY[0] not in made.held()
        assert whole & made.registry.manifests.digests(NAME) == (whole if pinned else set())


def test_what_others_share_stays(tmp_path: Path) -> None:
    base = bytes(50_000)
    with cache(tmp_path) as made:
        for tag in MANY:
            made.offer(tag, base)
            made.pull(tag)
            assert made.world.get(f"/v2/{NAME}/blobs/{digest(base)}")[0] == 200
        made.eviction.look()
        assert set(MANY) - made.held() == set(MANY[:2])
        assert made.is_stored(base)
        assert made.registry.blobs.has(NAME, Digest.of(base))


def test_what_is_on_its_way_stays(full: Cache) -> None:
    source = full.made.bringing.sources.of(NAME)
    assert source
    directory = source.wanted(Digest.of(full.layers[MANY[0]])).directory
    lock = Partial(directory).try_lock()
    assert lock
    with lock:
        full.eviction.look()
        assert set(MANY) - full.held() == {MANY[1], MANY[2]}


def test_what_the_collector_did_not_free_is_freed_later(tmp_path: Path) -> None:
    failing: list[Failing] = []

    def make(registry: object) -> Failing:
        failing.append(Failing(registry))  # type: ignore[arg-type]
        return failing[0]

    with cache(tmp_path, make) as made:
        made.bring(*MANY)
        made.eviction.look()
        assert made.eviction.standing.reason == "error"
        assert made.is_stored(made.layers[MANY[0]]) and MANY[0] not in made.held()
        failing[0].fails = False
        made.eviction.look()
        assert not made.is_stored(made.layers[MANY[0]])
        assert made.held() == set(MANY[2:])


def test_one_node_of_a_storage_evicts(tmp_path: Path) -> None:
    with cache(tmp_path, lease=lambda: False) as made:
        made.bring(*MANY)
        made.eviction.look()
        assert made.held() == set(MANY)
        assert made.eviction.standing.hindrance == ""


def test_pulls_go_uncached_while_the_cap_is_reached(full: Cache) -> None:
    full.world.down = 503
    full.eviction.look()  # grants nothing, and nothing can go
    full.world.down = 0
    full.offer("late")
    full.made.registry.manifests.get(NAME, Tag("late"))
    full.pull("late")
    assert not full.is_stored(full.layers["late"])


def test_the_name_of_what_runs_is_read_as_load_does(full: Cache) -> None:
    canonical = naming.canonical_names(full.world.app.extensions["distserver.config"])
    lines = full.world.state / "list"
    lines.write_text("nginx\nup.site/a:1\ndocker-pullable://redis:7@sha256:" + "a" * 64 + "\n")
    used = InUse(full.world.state / "known", {"list": list_file(lines)}, canonical).now()
    assert used.names == {
        "docker.io/library/nginx:latest",
        "docker.io/library/redis:7",
        "up.site/a:1",
    }
    assert used.digests == {"sha256:" + "a" * 64}


def _parsed(body: bytes) -> Manifest:
    return parse_manifest(body, None)


def test_the_page_and_the_metrics_tell(full: Cache) -> None:
    full.world.switch("offline")
    full.eviction.look()
    page = full.world.get("/")[1].decode()
    assert "pulled from upstreams" in page
    assert "images that should go stay: the mode is offline" in page
    metrics = full.world.get("/metrics")[1].decode()
    assert 'distserver_eviction_hindered{reason="offline"} 1.0' in metrics
    assert 'distserver_eviction_hindered{reason="pinned"} 0.0' in metrics
    assert re.search(r"^distserver_cache_bytes 60\d{4}", metrics, re.MULTILINE)


def test_what_is_said_of_an_image_comes_again_with_it(full: Cache) -> None:
    top, bringing = Digest.of(full.world.manifests[MANY[0]]), full.made.bringing
    bringing.signatures(NAME, top)
    assert bringing.signatures_came(NAME, top)
    full.eviction.look()
    assert not bringing.signatures_came(NAME, top)


def test_for_the_floor_no_more_goes_while_what_went_is_not_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while readers have it open: else the whole cache would go, look by look."""
    room = Space(400_000, 400_000, 9)
    monkeypatch.setattr("distserver.evicting.loop.space_of", lambda _: room)
    with cache(tmp_path, cache_bytes=0, cache_free_bytes=550_000) as made:
        made.bring(*MANY)
        made.eviction.look()
        assert set(MANY) - made.held() == set(MANY[:2])
        made.eviction.look()
        assert set(MANY) - made.held() == set(MANY[:2])
        monkeypatch.setattr("distserver.evicting.loop.FREED_SECONDS", 0.0)
        made.eviction._awaited_until = 0.0
        made.eviction.look()
        assert set(MANY) - made.held() == set(MANY[:4])


def test_a_pull_during_its_eviction_is_kept_whole(
    full: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The eviction takes records that the pull found there, before it is done."""
    registry, body = full.registry, full.world.manifests[MANY[0]]
    top, layer = Digest.of(body), Digest.of(full.layers[MANY[0]])
    follow, taken = registry.manifests._tags.follow, []

    def evicted_meanwhile(*args: Any) -> None:
        follow(*args)
        if not taken:
            taken.append(registry.records.remove(layout.manifest_records(NAME, top)))
            registry.blobs.delete(NAME, layer)

    monkeypatch.setattr(registry.manifests._tags, "follow", evicted_meanwhile)
    registry.manifests.keep(NAME, top, body, _parsed(body), [Tag(MANY[0])])
    assert taken and registry.manifests.held(NAME, Tag(MANY[0])).data == body
    assert registry.blobs.has(NAME, layer)
