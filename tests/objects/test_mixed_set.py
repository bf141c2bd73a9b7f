"""Replica sets of which members are buckets: a set wraps any storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends import ReplicaSet, erase, initialise, open_backend, put, read_all, restore
from backends.check import BrokenPromise, check_storage
from tests.faults.images import assert_pulls, digest_of, live, make_image, push
from tests.live import running, start_server, wait_for
from tests.objects.servers import ObjectStore
from tests.objects.test_sweep import data

NAME = "site/app"
BEFORE, MEANWHILE = make_image("before", 2 << 20), make_image("meanwhile", 2 << 20)


def test_two_directories_and_a_bucket(own: ObjectStore, tmp_path: Path) -> None:
    roots, bucket = [tmp_path / "a", tmp_path / "b"], own.url()
    for root in roots:
        root.mkdir()
    members = (*map(str, roots), bucket)
    with running(start_server(tmp_path / "server", "--workers", "1", storage=members)) as server:
        call = live(server)
        push(call, NAME, "before", BEFORE)
        own.kill()
        assert_pulls(call, NAME, "before", BEFORE)
        push(call, NAME, "meanwhile", MEANWHILE)
        own.start()
        wait_for(lambda: _held(bucket) >= _held(members[0]), 60, "what the bucket missed")
        for root in roots:
            root.rename(root.with_suffix(".away"))
        for image in (BEFORE, MEANWHILE):
            answer = call("GET", f"/v2/{NAME}/blobs/{digest_of(image.layer)}")
            assert (answer.status, answer.body) == (200, image.layer)


def test_a_set_restores_and_erases_as_each_member_can(store: ObjectStore, tmp_path: Path) -> None:
    urls = [str(tmp_path / "a"), str(tmp_path / "b"), store.url()]
    for url in urls[:2]:
        Path(url).mkdir()
    backend, bucket = _set(urls), open_backend(urls[2])
    put(backend, "trash/entry", MEANWHILE.layer)
    restore(backend, "trash/entry", "entry")
    wait_for(lambda: "entry" in set(bucket.keys("")), 20, "the copy in the bucket")
    assert len(data(store, bucket)) == 2
    erase(backend, "trash/entry")
    assert len(data(store, bucket)) == 1
    assert read_all(bucket, "entry", len(MEANWHILE.layer)) == MEANWHILE.layer


def test_three_buckets_keep_the_contract_and_are_examined(store: ObjectStore) -> None:
    urls = [store.url() for _ in range(3)]
    backend = _set(urls)
    examined = list(backend.examine())
    for url in urls:
        assert sum(result.name.startswith(url) for result in examined) > 3
    results = [*examined, *check_storage(backend, open_backend(*urls))]
    assert [result for result in results if not result.ok] == []


def test_a_bucket_that_cannot_be_relied_on_is_not_used(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go on, and the operator is told."""
    urls = [str(tmp_path / "a"), str(tmp_path / "b"), store.url()]
    for url in urls[:2]:
        Path(url).mkdir()
    backend = _set(urls)
    monkeypatch.setattr("backends.s3.trust._listing", _lies)
    examined = list(backend.examine())
    assert [result.name for result in examined if not result.ok] == [
        f"{urls[2]}: listing after a write"
    ]
    assert list(backend.keys("_store/"))
    backend.roster.refresh()
    (away,) = [one for one in backend.standings() if not one.up]
    assert "not to be relied on" in away.words


def _set(urls: list[str]) -> ReplicaSet:
    initialise(open_backend(*urls))
    backend = open_backend(*urls)
    assert isinstance(backend, ReplicaSet)
    return backend


def _lies(*_: object) -> str:
    raise BrokenPromise("write 1 is not in the listing that follows it")


def _held(url: str) -> set[str]:
    """Names of all entries of the registry."""
    member = open_backend(url)
    return {key for part in ("blobs", "chunks", "repositories") for key in member.keys(f"{part}/")}
