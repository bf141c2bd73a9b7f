"""Which storage a bucket is, and what its server is: asked before it is believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from backends import Backend, check_storage, initialise, open_backend, put, store_ids, unguarded
from backends.check import CHECKS, CheckResult
from backends.errors import NotFound, Unavailable
from distserver.cli import main
from tests.counts import count
from tests.objects.servers import BUCKET, ObjectStore
from tests.objects.test_large import objects
from tests.upstreams import acts
from tests.upstreams.exchange import Exchange
from tests.upstreams.proxy import Act, Rule, fault_proxy

_EXAMINED = ["bytes of objects", "listing after a write", "conditional writes", "clean up objects"]


@pytest.fixture(autouse=True)
def writes(monkeypatch: pytest.MonkeyPatch) -> int:
    """Writes that an examination makes, in any time: this machine may be busy."""
    writes = count(20, 200)
    monkeypatch.setattr("backends.s3.trust.WRITES", writes)
    monkeypatch.setattr("backends.s3.trust.WRITES_SECONDS", 300.0)
    return writes


def test_a_storage_without_an_identity_is_unavailable_never_empty(store: ObjectStore) -> None:
    backend = open_backend(store.url())
    for ask in (lambda: backend.stat("x"), lambda: list(backend.keys("")), backend.create):
        with pytest.raises(Unavailable, match="not initialised"):
            ask()
    initialise(backend)
    with pytest.raises(NotFound):
        backend.stat("x")


def test_a_bucket_that_is_not_there_is_unavailable(store: ObjectStore) -> None:
    backend = open_backend(f"s3://missing-bucket?endpoint={store.endpoint}")
    for ask in (lambda: initialise(backend), lambda: unguarded(backend).stat("x")):
        with pytest.raises(Unavailable, match="no such bucket"):
            ask()


def test_another_storage_is_told_from_ours(store: ObjectStore) -> None:
    url = store.url()
    initialise(open_backend(url))
    with pytest.raises(Unavailable, match="expected ours"):
        open_backend(url, expected_id="ours").stat("x")
    (held,) = store_ids(open_backend(url))
    with pytest.raises(NotFound):
        open_backend(url, expected_id=held).stat("x")


def test_a_storage_that_was_emptied_is_noticed(
    store: ObjectStore, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(backend, "entry", b"x")
    for name in objects(store, backend):
        store.client().delete_object(Bucket=BUCKET, Key=name)
    monkeypatch.setattr("backends.s3.identity.FRESH_SECONDS", 0.0)
    with pytest.raises(Unavailable, match="not initialised"):
        backend.stat("entry")


def test_the_identity_is_asked_for_again_after_a_failure(store: ObjectStore, backend: Any) -> None:
    with fault_proxy(("127.0.0.1", store.port)) as proxy:
        far = open_backend(f"s3://{BUCKET}/{backend._place.prefix}?endpoint={proxy.url}")
        put(far, "entry", b"x")
        before = len(proxy.requests("_store"))
        far.stat("entry")
        assert len(proxy.requests("_store")) == before, "what was seen just now still holds"
        proxy.rule(Rule(acts.answering(500), "GET .*/entry"))
        with pytest.raises(Unavailable):
            far.stat("entry")
        proxy.rule()
        far.stat("entry")
        assert len(proxy.requests("_store")) == before + 1


def test_what_others_have_in_the_bucket_is_not_ours(store: ObjectStore) -> None:
    url = store.url()
    place: Any = open_backend(url)
    store.client().put_object(Bucket=BUCKET, Key=f"{place._place.prefix}photo.jpg", Body=b"x")
    for _ in range(2):
        with pytest.raises(Unavailable, match="not ours"):
            initialise(open_backend(url))
    assert len(objects(store, place)) == 1, "nothing is written to what is not ours"


def test_left_overs_of_ours_do_not_make_a_storage_foreign(store: ObjectStore) -> None:
    """A check before `init` leaves data to the sweep."""
    url = store.url()
    raw = unguarded(open_backend(url))
    put(raw, "large", bytes(70_000))
    raw.delete("large")
    assert initialise(open_backend(url))


def test_what_we_did_not_write_is_no_key(store: ObjectStore, backend: Any) -> None:
    for name in ("a/.hidden", "a/b c", "a/\u00e4", "a/"):
        key = backend._place.prefix + name
        store.client().put_object(Bucket=BUCKET, Key=key, Body=b"x")
    put(backend, "a/ours", b"x")
    assert list(backend.keys("a/")) == ["a/ours"]


def test_the_command_finds_both_servers_good(
    store: ObjectStore, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTSERVER_S3_ENDPOINT", store.endpoint)
    url = store.url().partition("?")[0]
    done = CliRunner().invoke(main, ["check-storage", url])
    assert done.exit_code == 0, done.output
    assert [line.partition(":")[0][5:] for line in done.output.splitlines()] == [
        *(*CHECKS, "clean up"),
        *_EXAMINED,
    ]
    assert f"{writes} writes" in done.output and "conditional writes: available" in done.output


def test_a_check_leaves_no_entry_and_no_key(store: ObjectStore, backend: Any) -> None:
    before = [name for name in objects(store, backend) if "/." not in name]
    assert all(result.ok for result in check_storage(backend))
    assert [name for name in objects(store, backend) if "/." not in name] == before
    assert objects(store, backend, "examined") == []


def _forgetful(exchange: Exchange) -> None:
    """List nothing yet."""
    head = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    exchange.reply(200, {"Content-Type": "application/xml"}, head)


LIES: dict[str, tuple[Act, str]] = {
    "listing after a write": (_forgetful, "GET .*list-type=2.*examined"),
    "bytes of objects": (acts.flipping(100), "GET .*examined.*/small"),
}


@pytest.fixture
def lying(store: ObjectStore, backend: Any) -> Iterator[Callable[[str], Backend]]:
    """The storage behind a server that lies in one way."""
    with fault_proxy(("127.0.0.1", store.port)) as proxy:

        def lie(which: str) -> Backend:
            proxy.rule(Rule(*LIES[which]))
            return open_backend(f"s3://{BUCKET}/{backend._place.prefix}?endpoint={proxy.url}")

        yield lie


def _failed(backend: Any) -> list[CheckResult]:
    return [result for result in backend.examine() if not result.ok]


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_lies_is_refused_in_words(lying: Callable[[str], Backend], lie: str) -> None:
    backend = lying(lie)
    assert lie in [result.name for result in _failed(backend)]
    with pytest.raises(Unavailable, match=f"not to be relied on.*{lie}"):
        backend.stat("x")


def test_a_server_that_is_away_is_not_condemned(store: ObjectStore, backend: Any) -> None:
    with fault_proxy(("127.0.0.1", store.port)) as proxy:
        far: Any = open_backend(f"s3://{BUCKET}/{backend._place.prefix}?endpoint={proxy.url}")
        far.stat("_store/" + min(store_ids(far)))
        proxy.port.refuse()
        assert not any(result.answered for result in _failed(far))
        proxy.port.listen()
        with pytest.raises(NotFound):
            far.stat("x")


def test_a_server_is_examined_once_for_a_storage(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distserver.app import initialise_storage, open_storage
    from distserver.config import Config

    with fault_proxy(("127.0.0.1", store.port)) as proxy:
        config = Config(storage=(store.url(proxy.url),), state=str(tmp_path / "state"))
        initialise_storage(config)
        written = len(proxy.requests("PUT .*examined"))
        assert written > 10
        open_storage(config)
        assert len(proxy.requests("PUT .*examined")) == written
        proxy.rule(Rule(_forgetful, "GET .*list-type=2.*examined"))
        other = Config(storage=config.storage, state=str(tmp_path / "other"))
        with pytest.raises(Unavailable, match="not to be relied on"):
            open_storage(other).stat("x")
        assert not list((tmp_path / "other").glob("examined-*"))
