"""What a sweep removes, and above all what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from backends import Backend, put, read_all
from backends.errors import StorageError, Unavailable
from backends.s3 import sweep as sweeping
from backends.s3.listing import Listed
from tests.objects.servers import BUCKET, ObjectStore
from tests.objects.test_large import objects
from tests.upstreams.acts import answering
from tests.upstreams.proxy import Rule, fault_proxy

MIB = 1 << 20


@pytest.fixture
def young(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is too young to be swept, and looks may follow each other at once."""
    for name in ("MIN_AGE_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(f"backends.s3.sweep.{name}", -3600.0)


def data(store: ObjectStore, backend: Backend) -> list[str]:
    return objects(store, backend, ".data/")


def sweep(backend: Any) -> int:
    return int(backend.sweep(-3600.0))


def test_data_goes_when_two_looks_found_no_name(
    store: ObjectStore, backend: Backend, young: None
) -> None:
    put(backend, "entry", bytes(MIB))
    put(backend, "entry", bytes(2 * MIB))
    put(backend, "gone", bytes(3 * MIB))
    backend.link("gone", "kept")
    backend.delete("gone")
    assert len(data(store, backend)) == 3
    assert (sweep(backend), len(data(store, backend))) == (0, 3)
    assert (sweep(backend), len(data(store, backend))) == (1, 2)
    assert (sweep(backend), len(data(store, backend))) == (0, 2)
    assert read_all(backend, "entry", 9 * MIB) == bytes(2 * MIB)
    assert read_all(backend, "kept", 9 * MIB) == bytes(3 * MIB)


def test_nothing_younger_than_two_days_goes(store: ObjectStore, backend: Any) -> None:
    put(backend, "entry", bytes(MIB))
    backend.delete("entry")
    for _ in range(2):
        assert backend.sweep(0) == 0
    assert len(data(store, backend)) == 1


def test_two_looks_are_a_day_apart(
    store: ObjectStore, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.s3.sweep.MIN_AGE_SECONDS", -3600.0)
    put(backend, "entry", bytes(MIB))
    backend.delete("entry")
    for _ in range(3):
        assert sweep(backend) == 0
    assert len(data(store, backend)) == 1


def test_a_name_that_comes_between_two_looks_saves_the_data(
    store: ObjectStore, backend: Backend, young: None
) -> None:
    put(backend, "uploads/entry", bytes(MIB))
    (pointer,) = [name for name in objects(store, backend, "uploads/entry")]
    held = store.client().get_object(Bucket=BUCKET, Key=pointer)["Body"].read()
    backend.delete("uploads/entry")
    sweep(backend)
    store.client().put_object(Bucket=BUCKET, Key=pointer, Body=held)  # a link in between
    sweep(backend)
    assert read_all(backend, "uploads/entry", MIB) == bytes(MIB)


def test_names_are_read_where_etags_tell_nothing(
    store: ObjectStore, backend: Backend, young: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a bucket is encrypted: then an ETag is no sum of the content."""
    put(backend, "entry", bytes(MIB))
    put(backend, "as-long-as-a-pointer", bytes(sweeping.POINTER_BYTES - 1))
    put(backend, "gone", bytes(MIB))
    backend.delete("gone")
    monkeypatch.setattr(sweeping, "_mark_of_etag", _strange)
    assert (sweep(backend), sweep(backend)) == (0, 1)
    assert read_all(backend, "entry", MIB) == bytes(MIB)


def _strange(one: Listed) -> int:
    return hash(one.name) & 0xFFFF


@pytest.mark.parametrize(
    "request_", ["list-type=2.*%2Edata|list-type=2.*.data", "GET .*list-type=2"]
)
def test_a_look_that_failed_removes_nothing(
    store: ObjectStore, backend: Any, young: None, request_: str
) -> None:
    put(backend, "entry", bytes(MIB))
    backend.delete("entry")
    sweep(backend)
    with fault_proxy(("127.0.0.1", store.port)) as proxy:
        far = open_at(backend, proxy.url)
        proxy.rule(Rule(answering(503), request_))
        with pytest.raises(Unavailable):
            sweep(far)
    assert len(data(store, backend)) == 1
    assert sweep(backend) == 1


def open_at(backend: Any, endpoint: str) -> Any:
    from backends import open_backend

    return open_backend(f"s3://{BUCKET}/{backend._place.prefix}?endpoint={endpoint}")


def test_a_pointer_that_cannot_be_read_saves_all(
    store: ObjectStore, backend: Any, young: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(backend, "entry", bytes(MIB))
    put(backend, "gone", bytes(MIB))
    backend.delete("gone")
    monkeypatch.setattr(sweeping, "_mark_of_etag", _strange)
    sweep(backend)
    with fault_proxy(("127.0.0.1", store.port)) as proxy:
        far = open_at(backend, proxy.url)
        proxy.rule(Rule(answering(500), "GET .*/entry"))
        with pytest.raises(StorageError):
            sweep(far)
    assert len(data(store, backend)) == 2


def test_what_is_not_ours_stays(store: ObjectStore, backend: Any, young: None) -> None:
    client = store.client()
    strange = [f"{backend._place.prefix}.data/{name}" for name in ("x", "ab/other", "readme")]
    for name in strange:
        client.put_object(Bucket=BUCKET, Key=name, Body=b"x")
    for _ in range(3):
        sweep(backend)
    assert data(store, backend) == sorted(strange)


@pytest.fixture
def uploading(store: ObjectStore, backend: Any) -> Iterator[str]:
    """An upload in parts of a writer that died."""
    writer = backend.create()
    writer.write(bytes(9 * MIB))
    writer._upload._wait()
    yield backend._place.data(writer._id)
    writer.abort()


def test_parts_of_dead_writers_go_and_those_of_others_stay(
    store: ObjectStore, backend: Any, uploading: str, young: None
) -> None:
    client = store.client()
    other = client.create_multipart_upload(Bucket=BUCKET, Key="others/large")["UploadId"]
    try:
        removed = backend.sweep(0)
        left = client.list_multipart_uploads(Bucket=BUCKET, Prefix=uploading).get("Uploads", [])
        if store.name == "minio":
            assert removed == 0, "lists by whole names only, and drops them itself after 24 h"
        else:
            assert (removed, left) == (1, [])
        kept = client.list_multipart_uploads(Bucket=BUCKET, Prefix="others/large")["Uploads"]
        assert [one["UploadId"] for one in kept] == [other]
    finally:
        client.abort_multipart_upload(Bucket=BUCKET, Key="others/large", UploadId=other)


def test_parts_of_living_writers_stay(store: ObjectStore, backend: Any, uploading: str) -> None:
    assert backend.sweep(0) == 0
    assert store.client().list_multipart_uploads(Bucket=BUCKET, Prefix=uploading)["Uploads"]
