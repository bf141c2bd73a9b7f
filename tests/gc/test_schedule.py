"""When servers collect, how pushes are refused meanwhile, and what an operator is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backends import Memory, initialise, open_backend, put
from backends.errors import Unavailable
from distserver.config import Config, load, to_environ
from distserver.oci.manifests import parse_manifest
from distserver.registry import Registry, freeze, layout, local_registry
from distserver.registry.freeze import Freezes, frozen
from distserver.registry.gc import Limits, collect
from distserver.registry.gc.explain import explain
from distserver.registry.gc.runs import Runs
from distserver.registry.gc.schedule import Schedule
from distserver.registry.gc.untagged import remove_untagged
from distserver.registry.lease import Lease, storage_now
from distserver.registry.trash import Trash
from distserver.space import limits_of
from tests.gc.pushed import digest, index, manifest, push
from tests.gc.pushed import put as put_manifest
from tests.gc.storages import TwoSteps
from tests.live import Server, wait_for

AT_ONCE = Limits(grace_seconds=0, hold_seconds=0)


@pytest.fixture
def registry() -> Registry:
    return local_registry(Memory())


def test_a_run_is_due_once_and_again_after_the_interval(registry: Registry, tmp_path: Path) -> None:
    runs: list[int] = []
    schedules = [
        Schedule(registry.backend, tmp_path / node, seconds, lambda: runs.append(1))
        for node, seconds in (("a", 3600), ("b", 3600), ("b", 0.0))
    ]
    schedules[0].look()
    collect(registry, AT_ONCE)
    schedules[0].look()
    schedules[1].look()
    assert len(runs) == 1
    schedules[2].look()
    assert len(runs) == 2


def test_one_node_collects_at_a_time(registry: Registry, tmp_path: Path) -> None:
    nested: list[str] = []
    other = Schedule(registry.backend, tmp_path / "b", 1, lambda: nested.append("b"))
    one = Schedule(registry.backend, tmp_path / "a", 1, other.look)
    one.look()
    assert nested == []
    other.look()
    assert nested == ["b"]


def test_a_lease_of_who_died_is_over_after_an_hour(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Lease(registry.backend).take()
    later = Lease(registry.backend)
    assert not later.take()
    now = time.time()
    monkeypatch.setattr("backends.memory.time.time", lambda: now + 3700)
    assert later.take()


def test_pushes_are_refused_in_a_freeze_and_pulls_are_not(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freeze, "SEEN_SECONDS", 0.0)
    freezes = Freezes(registry.backend)
    freezes.require_none()
    with frozen(registry.backend, 0.0), pytest.raises(Unavailable):
        freezes.require_none()
    freezes.require_none()


def test_the_freeze_of_who_died_is_over_after_an_hour(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(registry.backend, freeze.KEY, b"")
    now = time.time()
    monkeypatch.setattr("backends.memory.time.time", lambda: now + 3700)
    Freezes(registry.backend).require_none()


def test_untagged_manifests_go_when_they_are_old(registry: Registry) -> None:
    kept = push(registry, "a", "", b"member")
    put_manifest(registry, "a", "index", index(manifest(b"member")))
    subject = push(registry, "a", "v1", b"one")
    row = {"mediaType": "application/json", "digest": str(subject), "size": len(manifest(b"one"))}
    signature = push(registry, "a", "", b"signature", subject=row)
    old = push(registry, "a", "", b"old")
    before = storage_now(registry.backend)
    assert remove_untagged(registry, before - 60) == 0
    assert remove_untagged(registry, before + 60) == 1
    assert registry.manifests.digests("a") >= {kept, subject, signature}
    assert old not in registry.manifests.digests("a")


def test_pulled_manifests_are_not_deleted_for_having_no_tag(registry: Registry) -> None:
    body = manifest(b"one")
    registry.manifests.keep("a", digest(body), body, parse_manifest(body, None), [])
    assert remove_untagged(registry, time.time() + 60) == 0


def test_why_something_is_kept_is_told(registry: Registry) -> None:
    named = push(registry, "a/b", "v1", b"one")
    lines = list(explain(registry, digest(b"one"), Limits(), time.time()))
    assert f"a/b@{named} (v1) names it" in lines
    assert any("within the time of grace" in line for line in lines)
    assert list(explain(registry, digest(b"absent"), Limits(), 0)) == ["it is not stored"]
    registry.manifests.delete("a/b", named)
    collect(registry, Limits(0, 3600))
    lines = list(explain(registry, digest(b"one"), AT_ONCE, time.time()))
    assert [line.partition(",")[0] for line in lines] == ["it is not stored", "it is in the trash"]


def test_what_a_dead_run_took_in_two_steps_waits_for_the_operator() -> None:
    """Where it cannot be moved in one step, it may still delete what somebody brought back."""

    registry = local_registry(TwoSteps(Memory()))
    registry.content.put(digest(b"one"), [b"one"])
    runs = Runs(registry.backend)
    dead, _ = runs.begin()
    Trash(registry.backend).condemn(digest(b"one"), dead)
    assert collect(registry, AT_ONCE).purged == {}
    assert runs.unfinished() == [dead]
    runs.end(dead)
    assert set(collect(registry, AT_ONCE).purged) == {digest(b"one")}
    assert runs.unfinished() == []


def test_a_configuration_survives_the_way_through_variables() -> None:
    config = Config(storage=("/a", "/b"), s3_path_style=True, deletes_enabled=False)
    assert load(None, to_environ(config)).config == config


def test_a_server_collects_by_itself(start: Callable[..., Server]) -> None:
    names = ("INTERVAL", "GRACE", "HOLD")
    values = dict(zip(names, ("1", "0", "0"), strict=True))
    env = {f"DISTSERVER_GC_{name}_SECONDS": value for name, value in values.items()}
    server = start(None, "--workers", "2", env=env)
    blob = digest(b"x" * 1000)
    pushed = server.request("POST", f"/v2/a/blobs/uploads/?digest={blob}", data=b"x" * 1000)
    assert pushed.status_code == 201
    # Who asked for it would bring it back each time.
    place = server.storage / layout.blob(blob)
    wait_for(lambda: not place.exists(), 60, "collection")
    wait_for(lambda: not list(server.storage.glob("trash/*/*/*")), 60, "purge")
    assert server.request("HEAD", f"/v2/a/blobs/{blob}").status_code == 404


def test_listings_of_a_local_disk_are_not_waited_for(tmp_path: Path) -> None:
    initialise(open_backend(str(tmp_path)))
    backend = open_backend(str(tmp_path))  # it has not been asked anything yet
    assert limits_of(Config(storage=(str(tmp_path),)), backend).settle_seconds == 0
    assert limits_of(Config(storage=("/a", "/b")), Memory()).settle_seconds > 60
    assert limits_of(Config(storage=("s3://bucket",)), Memory()).settle_seconds == 0
