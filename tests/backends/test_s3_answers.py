"""What an object store may answer, and what it means: scripted, without a server behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from backends import Backend, S3Options, open_backend, put, read_all
from backends.errors import Full, NotFound, StorageError, Unavailable
from backends.identity import unguarded
from tests.proxy.tls import authority, issued, server_context
from tests.upstreams.acts import PAGE, hanging
from tests.upstreams.proxy import Act, FaultProxy, Rule, fault_proxy

NOBODY = ("127.0.0.1", 1)
YESTERDAY = formatdate(time.time() - 86400, usegmt=True)
DATED = {"Last-Modified": formatdate(usegmt=True), "ETag": '"x"'}


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "x")
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def server() -> Iterator[FaultProxy]:
    with fault_proxy(NOBODY) as proxy:
        yield proxy


@pytest.fixture
def bucket(server: FaultProxy) -> Backend:
    return unguarded(open_backend("s3://bucket", s3=S3Options(endpoint=server.url)))


def saying(status: int, code: str, **headers: str) -> Act:
    body = f"<Error><Code>{code}</Code><Message>in words</Message></Error>".encode()
    return lambda exchange: exchange.reply(
        status, {"Content-Type": "application/xml"} | headers, body
    )


MEANINGS: list[tuple[int, str, type[StorageError], str]] = [
    (404, "NoSuchKey", NotFound, "bucket"),
    (404, "NoSuchBucket", Unavailable, "no such bucket"),
    (404, "", Unavailable, "in words"),
    (403, "AccessDenied", Unavailable, "lacks rights"),
    (403, "InvalidAccessKeyId", Unavailable, "access key"),
    (403, "SignatureDoesNotMatch", Unavailable, "secret key is wrong"),
    (403, "RequestTimeTooSkewed", Unavailable, "the clock of this machine says .* YESTERDAY"),
    (301, "PermanentRedirect", Unavailable, "s3_region"),
    (302, "", Unavailable, "portal"),
    (400, "ExpiredToken", Unavailable, "expired"),
    (403, "QuotaExceeded", Full, "quota"),
    (507, "XMinioStorageFull", Full, "no room"),
    (400, "Surprise", Unavailable, "in words"),
    (500, "InternalError", Unavailable, "in words"),
    (503, "SlowDown", Unavailable, "busy"),
    (409, "OperationAborted", Unavailable, "in words"),
]


@pytest.mark.parametrize(("status", "code", "error", "words"), MEANINGS)
def test_an_error_of_the_server_is_one_of_ours(
    server: FaultProxy,
    bucket: Backend,
    status: int,
    code: str,
    error: type[StorageError],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backends.s3.client.TRY_SECONDS", 0)  # there is time for all tries
    server.rule(Rule(saying(status, code, Date=YESTERDAY)))
    for ask in (lambda: bucket.stat("key"), lambda: put(bucket, "key", b"x")):
        with pytest.raises(error, match=words.replace("YESTERDAY", YESTERDAY)):
            ask()


def test_only_the_absence_of_a_key_is_absence(server: FaultProxy, bucket: Backend) -> None:
    """A page about a page that is not there, by whatever stands between us and the server."""
    server.rule(Rule(lambda exchange: exchange.reply(404, {"Content-Type": "text/html"}, PAGE)))
    with pytest.raises(Unavailable):
        bucket.stat("key")
    server.rule(Rule(saying(404, "NoSuchKey")))
    bucket.delete("key")


@pytest.mark.parametrize("headers", [{"Content-Type": "text/html"}, {"Content-Type": "text/xml"}])
def test_a_page_of_a_portal_is_no_answer(
    server: FaultProxy, bucket: Backend, headers: dict[str, str]
) -> None:
    server.rule(Rule(lambda exchange: exchange.reply(200, headers, PAGE)))
    for ask in (
        lambda: bucket.stat("key"),
        lambda: list(bucket.keys("a/")),
        lambda: put(bucket, "key", b"x"),
    ):
        with pytest.raises(Unavailable):
            ask()


@pytest.mark.parametrize("status", [500, 503])
def test_what_fails_at_once_is_tried_three_times(
    server: FaultProxy, bucket: Backend, status: int
) -> None:
    server.rule(Rule(saying(status, "SlowDown")))
    began = time.monotonic()
    with pytest.raises(Unavailable):
        bucket.stat("key")
    assert 2 <= len(server.seen) <= 3, "a third try that comes too late is left out"
    assert time.monotonic() - began < 15


def test_a_try_that_could_not_end_in_time_is_not_begun(
    server: FaultProxy, bucket: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.s3.client.READ_SECONDS", 1)
    monkeypatch.setattr("backends.s3.client.TRY_SECONDS", 14.5)
    server.rule(Rule(hanging))
    with pytest.raises(Unavailable, match="fails, or is too busy"):
        bucket.stat("key")
    assert len(server.seen) == 1


def test_a_server_that_is_not_there_is_told_soon(server: FaultProxy, bucket: Backend) -> None:
    server.port.refuse()
    began = time.monotonic()
    with pytest.raises(Unavailable, match="cannot be reached"):
        bucket.stat("key")
    assert time.monotonic() - began < 5


def test_ranges_that_are_not_given_are_noticed(server: FaultProxy, bucket: Backend) -> None:
    from backends.s3.client import Client

    server.rule(Rule(lambda exchange: exchange.reply(200, DATED, b"\x00whole")))
    assert read_all(bucket, "key", 99) == b"whole", "the beginning is the whole here"
    with pytest.raises(Unavailable, match="ranges"):
        Client(bucket._place).get("name", 3, 5)  # type: ignore[attr-defined]


def test_missing_credentials_are_told(
    server: FaultProxy, bucket: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Unavailable, match="AWS_ACCESS_KEY_ID"):
        bucket.stat("key")


def test_our_authorities_win_over_those_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = authority(tmp_path, "ours"), authority(tmp_path, "theirs")
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(theirs.cert))
    tls = server_context(issued(tmp_path, ours, "server", "IP:127.0.0.1"))
    with fault_proxy(NOBODY, tls=tls) as server:
        server.rule(Rule(saying(404, "NoSuchKey")))
        ask: Callable[[str], Backend] = lambda ca: unguarded(  # noqa: E731
            open_backend("s3://bucket", s3=S3Options(endpoint=server.url, ca_file=ca))
        )
        with pytest.raises(NotFound):
            ask(str(ours.cert)).stat("key")
        with pytest.raises(Unavailable, match="not trusted"):
            ask("").stat("key")
        with pytest.raises(Unavailable):
            ask(str(tmp_path / "missing.pem")).stat("key")


def test_a_small_object_is_sent_without_asking_first(server: FaultProxy, bucket: Backend) -> None:
    server.rule(Rule(lambda exchange: exchange.reply(200, DATED)))
    put(bucket, "key", b"x")
    assert [seen.head.get("Expect") for seen in server.seen] == [""]


def test_no_checksum_is_appended_to_what_is_sent(server: FaultProxy, bucket: Backend) -> None:
    """Trailers of checksums: some servers refuse them, others store them in the object."""
    server.rule(Rule(lambda exchange: exchange.reply(200, DATED)))
    put(bucket, "key", bytes(100_000))
    bodies = [(len(seen.body), seen.head.get("Content-Encoding")) for seen in server.seen]
    assert bodies == [(100_000, ""), (53, "")]
