"""The contract of storages, on object stores; and whose the data is that several entries name."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import pytest

from backends import Backend, erase, put, read_all, restore
from backends.errors import Corrupt, NotFound, Unavailable
from backends.s3 import backend as verbs
from backends.s3 import sweep as sweeping
from backends.s3.client import Client
from tests.backends.test_contract_restoring import *  # noqa: F403
from tests.backends.test_contract_restoring import LARGE, whole
from tests.objects.servers import ObjectStore
from tests.objects.test_sweep import _strange, data, open_at, sweep, young  # noqa: F401
from tests.upstreams.acts import answering
from tests.upstreams.proxy import Rule, fault_proxy

MIB = 1 << 20


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """An entry that is copied in three pieces."""
    monkeypatch.setattr("backends.s3.copying.PIECE_BYTES", 5 * MIB)
    return random.Random(1).randbytes(12 * MIB + 7)


def test_a_copy_lives_on_when_sweeps_have_taken_the_data_of_its_source(
    store: ObjectStore,
    backend: Backend,
    young: None,  # noqa: F811
) -> None:
    put(backend, "trash/entry", LARGE)
    restore(backend, "trash/entry", "entry")
    assert len(data(store, backend)) == 2
    backend.delete("trash/entry")
    assert (sweep(backend), sweep(backend), len(data(store, backend))) == (0, 1, 1)
    assert whole(backend, "entry") == LARGE


def test_large_data_is_copied_in_pieces(backend: Backend, pieces: bytes) -> None:
    put(backend, "trash/entry", pieces)
    restore(backend, "trash/entry", "entry")
    erase(backend, "trash/entry")
    assert read_all(backend, "entry", len(pieces)) == pieces


def test_a_copy_that_is_not_whole_gets_no_name(
    store: ObjectStore, backend: Backend, pieces: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some servers do not know ranges of copies, and copy the whole for each."""
    call = Client.call
    monkeypatch.setattr(
        Client,
        "call",
        lambda *args, CopySourceRange="", **asked: call(*args, **asked),  # noqa: N803
    )
    put(backend, "trash/entry", pieces)
    with pytest.raises(Unavailable, match="copied"):
        restore(backend, "trash/entry", "entry")
    with pytest.raises(NotFound):
        backend.stat("entry")


@pytest.mark.parametrize("size", [1, len(LARGE)])
def test_a_copy_is_not_named_late(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    put(backend, "trash/entry", LARGE[:size])
    clock = iter([0.0, 2 * 3600.0])
    for module in ("backend", "writer"):
        monkeypatch.setattr(f"backends.s3.{module}.now", lambda: next(clock))
    with pytest.raises(Unavailable, match="given up"):
        restore(backend, "trash/entry", "entry")
    assert "entry" not in list(backend.keys(""))


def test_a_failed_copy_of_pieces_leaves_none(
    store: ObjectStore, backend: Backend, pieces: bytes
) -> None:
    put(backend, "trash/entry", pieces)
    with fault_proxy(("127.0.0.1", store.port)) as proxy:
        far = open_at(backend, proxy.url)
        proxy.rule(Rule(answering(403), "PUT .*partNumber=3"))
        with pytest.raises(Unavailable):
            restore(far, "trash/entry", "entry")
    assert len(data(store, backend)) == 1
    assert "DELETE" in {seen.method for seen in proxy.seen}, "the upload is aborted"


@pytest.mark.parametrize("etags", ["MD5", "others"])
def test_data_goes_with_the_last_entry_that_is_erased(
    store: ObjectStore, backend: Backend, monkeypatch: pytest.MonkeyPatch, etags: str
) -> None:
    """Whatever the server takes for ETags: where they are no sums, pointers are read."""
    if etags == "others":
        monkeypatch.setattr(sweeping, "_mark_of_etag", _strange)
    put(backend, "other", LARGE)
    put(backend, "entry", LARGE)
    backend.link("entry", "trash/one")
    backend.link("entry", "trash/two")
    for key, left in (("entry", 2), ("trash/two", 2), ("trash/one", 1)):
        assert whole(backend, key) == LARGE
        erase(backend, key)
        assert len(data(store, backend)) == left
    assert whole(backend, "other") == LARGE


@pytest.mark.parametrize("listing", ["list-type=2.*%2Edata|list-type=2.*.data", "list-type=2"])
def test_an_erasure_that_cannot_look_changes_nothing_and_can_be_repeated(
    store: ObjectStore, backend: Backend, listing: str
) -> None:
    put(backend, "entry", LARGE)
    with fault_proxy(("127.0.0.1", store.port)) as proxy:
        far = open_at(backend, proxy.url)
        far.stat("entry")
        proxy.rule(Rule(answering(503), f"GET .*({listing})"))
        with pytest.raises(Unavailable):
            erase(far, "entry")
    assert whole(backend, "entry") == LARGE
    erase(backend, "entry")
    assert data(store, backend) == []


def test_what_is_erased_between_its_pointer_and_its_data_is_not_found(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(real: Any, *args: Any) -> Any:
        erase(backend, "entry")
        return real(*args)

    for verb in ("DataReader", "copy_data"):
        monkeypatch.setattr(verbs, verb, partial(late, getattr(verbs, verb)))
    for read in (lambda: backend.open("entry"), lambda: backend.copy("entry", "other")):
        put(backend, "entry", LARGE)
        with pytest.raises(NotFound):
            read()


def test_data_that_is_lost_is_corrupt_and_not_absent(store: ObjectStore, backend: Any) -> None:
    put(backend, "entry", LARGE)
    (name,) = data(store, backend)
    store.client().delete_object(Bucket=backend._place.bucket, Key=name)
    for read in (lambda: backend.open("entry"), lambda: backend.copy("entry", "other")):
        with pytest.raises(Corrupt):
            read()
