"""An object store that fails: what is held back, what is retried, what is told."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from backends import Backend, open_backend, put, read_all
from backends.errors import Corrupt, NotFound, Unavailable
from tests.counts import count, crossed
from tests.objects.servers import BUCKET, ObjectStore
from tests.upstreams import acts, cuts
from tests.upstreams.exchange import Exchange
from tests.upstreams.proxy import Act, FaultProxy, Rule, fault_proxy, pass_on

MIB = 1 << 20
DATA = random.Random(5).randbytes(3 * MIB)
ENTRY, BODY = "GET .*/entry", r"GET .*\.data"


@pytest.fixture
def proxy(store: ObjectStore) -> Iterator[FaultProxy]:
    with fault_proxy(("127.0.0.1", store.port)) as proxy:
        yield proxy


@pytest.fixture
def far(backend: Any, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """The storage by way of the proxy, whose silence is noticed after 1 s."""
    monkeypatch.setattr("backends.s3.client.READ_SECONDS", 1)
    monkeypatch.setattr("backends.s3.reader.RESUME_SECONDS", 3.0)
    put(backend, "entry", DATA)
    return open_backend(f"s3://{BUCKET}/{backend._place.prefix}?endpoint={proxy.url}")


def whole(backend: Backend) -> bytes:
    with backend.open("entry") as reader:
        return reader.read()


BROKEN: dict[str, Act] = {
    "cut": cuts.cutting_each(MIB),
    "reset": cuts.resetting_each(MIB),
    "cut at once": cuts.cutting(0),
    "stall": cuts.stalling(MIB),
    "stall after head": cuts.stalling_after_head,
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_body_that_breaks_off_goes_on_unseen(proxy: FaultProxy, far: Backend, how: str) -> None:
    proxy.rule(Rule(BROKEN[how], BODY, times=2))
    assert hashlib.sha256(whole(far)).digest() == hashlib.sha256(DATA).digest()
    offsets = [seen.offset for seen in proxy.requests(BODY)]
    assert len(offsets) == 3 and offsets == sorted(offsets)
    assert proxy.requests(BODY)[-1].head.get("If-Match"), "the same object is asked for"


@pytest.mark.parametrize("how", BROKEN)
def test_a_body_that_always_breaks_off_is_given_up(
    proxy: FaultProxy, far: Backend, how: str
) -> None:
    proxy.rule(Rule(cuts.cutting(MIB) if how == "cut" else BROKEN[how], BODY))
    if how == "reset":
        assert whole(far) == DATA, "each connection brings a little"
        return
    began = time.monotonic()
    with pytest.raises(Unavailable):
        whole(far)
    assert time.monotonic() - began < 10


def test_another_object_is_never_joined_to_the_first(
    store: ObjectStore, proxy: FaultProxy, far: Any
) -> None:
    """Data is never replaced by us; whoever does it is noticed by the ETag."""
    proxy.rule(Rule(cuts.cutting_each(MIB), BODY, times=1))
    with far.open("entry") as reader:
        first = reader.read(MIB // 2)
        (name,) = [one for one in _data_names(store, far)]
        store.client().put_object(Bucket=BUCKET, Key=name, Body=bytes(3 * MIB))
        with pytest.raises((Unavailable, Corrupt)):
            reader.read()
    assert DATA.startswith(first)


def _data_names(store: ObjectStore, backend: Any) -> list[str]:
    found = store.client().list_objects_v2(Bucket=BUCKET, Prefix=backend._place.data())
    return [one["Key"] for one in found["Contents"]]


def test_data_that_is_gone_or_cut_is_corrupt_never_absent(store: ObjectStore, backend: Any) -> None:
    put(backend, "entry", DATA)
    (name,) = _data_names(store, backend)
    for spoil in (
        lambda: store.client().put_object(Bucket=BUCKET, Key=name, Body=DATA[:-1]),
        lambda: store.client().put_object(Bucket=BUCKET, Key=name, Body=b""),
        lambda: store.client().delete_object(Bucket=BUCKET, Key=name),
    ):
        spoil()
        with pytest.raises(Corrupt):
            backend.open("entry")
        assert backend.stat("entry").size == len(DATA)


VERBS = {
    "stat": lambda backend: backend.stat("entry"),
    "open": lambda backend: whole(backend),
    "keys": lambda backend: list(backend.keys("")),
    "keys below": lambda backend: list(backend.keys("a/")),
    "put": lambda backend: put(backend, "other", b"x"),
    "put large": lambda backend: put(backend, "other", bytes(9 * MIB)),
    "link": lambda backend: backend.link("entry", "other"),
    "delete": lambda backend: backend.delete("other"),
    "sweep": lambda backend: backend.sweep(),
}
FAULTS: dict[str, Act] = {
    "500": acts.answering(500),
    "503": acts.answering(503),
    "404 of a web server": acts.answering(404),
    "portal": acts.portal,
    "reset": lambda exchange: exchange.reset(),
    "silence": acts.hanging,
}


@pytest.mark.parametrize(("fault", "verb"), crossed(FAULTS, VERBS))
def test_every_verb_says_unavailable_in_time(
    proxy: FaultProxy, far: Any, verb: str, fault: str
) -> None:
    """Also while the identity of the storage is fresh: the verb's own requests fail."""
    far.stat("entry")
    far._guard = lambda: None
    if (verb, fault) == ("delete", "portal"):
        return  # it only collects garbage, and the question for the identity comes first
    proxy.rule(Rule(FAULTS[fault]))
    began = time.monotonic()
    with pytest.raises(Unavailable):
        VERBS[verb](far)
    assert time.monotonic() - began < 16


@pytest.mark.parametrize("verb", count(["stat"], list(VERBS)))
def test_a_refused_connection_is_unavailable(proxy: FaultProxy, far: Any, verb: str) -> None:
    proxy.port.refuse()
    with pytest.raises(Unavailable):
        VERBS[verb](far)


@pytest.mark.parametrize(
    ("fault", "verb"), crossed(["500", "503", "reset"], [verb for verb in VERBS if verb != "sweep"])
)
def test_what_fails_once_is_not_seen(proxy: FaultProxy, far: Any, verb: str, fault: str) -> None:
    far.stat("entry")
    proxy.rule(Rule(FAULTS[fault], times=1))
    VERBS[verb](far)


@pytest.mark.parametrize("fails", ["PUT .*partNumber=2", "POST .*uploadId=", "PUT .*/other"])
def test_an_upload_that_fails_shows_nothing_and_leaves_no_parts(
    store: ObjectStore, proxy: FaultProxy, far: Any, fails: str
) -> None:
    proxy.rule(Rule(acts.answering(500), fails))
    with pytest.raises(Unavailable), far.create() as writer:
        for _ in range(20):
            writer.write(bytes(MIB))
        writer.commit("other")
    proxy.rule(Rule(pass_on))
    with pytest.raises(NotFound):
        far.stat("other")
    name = far._place.data(writer._id)
    left = store.client().list_multipart_uploads(Bucket=BUCKET, Prefix=name).get("Uploads", [])
    assert left == []


def test_an_answer_that_is_lost_leaves_the_entry_whole_or_absent(
    proxy: FaultProxy, far: Any
) -> None:
    def lose(exchange: Exchange) -> None:
        assert exchange.forward("Expect").status == 200
        exchange.reset()

    far._guard = lambda: None
    proxy.rule(Rule(lose, "PUT .*/other"))
    with pytest.raises(Unavailable):
        put(far, "other", b"whole")
    proxy.rule(Rule(pass_on))
    assert read_all(far, "other", 99) == b"whole"
