"""Our questions to an upstream, and every answer that must not be believed."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest
import requests

from distserver.oci.digests import Digest
from distserver.oci.manifests import MAX_MANIFEST_BYTES, OCI_INDEX
from distserver.oci.names import Tag
from distserver.proxy.upstream.credentials import Credentials
from distserver.proxy.upstream.errors import (
    UpstreamAbsent,
    UpstreamError,
    UpstreamLied,
    UpstreamRefused,
    UpstreamUnavailable,
)
from tests.proxy.scripted import Asked, Reply, a_session, client, scripted

INDEX = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
DIGEST = Digest.of(INDEX)
TYPE = {"Content-Type": OCI_INDEX}
LATEST = Tag("latest")
ALICE = Credentials("alice", "CANARY")


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with a_session() as made:
        yield made


def good(asked: Asked) -> Reply:
    return 200, {**TYPE, "Docker-Content-Digest": str(DIGEST)}, INDEX


def test_a_manifest_is_asked_for_in_every_type_and_without_coding(
    session: requests.Session,
) -> None:
    with scripted(good) as upstream:
        fetched = upstream.registry(session).manifest("a/b", LATEST)
    assert (fetched.digest, fetched.body) == (DIGEST, INDEX)
    (asked,) = upstream.asked
    assert asked.path == "/v2/a/b/manifests/latest"
    assert asked.headers["accept-encoding"] == "identity"
    assert OCI_INDEX in asked.headers["accept"]
    assert asked.headers["accept"].count(",") == 3


def test_a_tag_is_resolved_by_head(session: requests.Session) -> None:
    with scripted(good) as upstream:
        assert upstream.registry(session).resolve("a", LATEST) == DIGEST
    assert [asked.method for asked in upstream.asked] == ["HEAD"]


PORTAL = b"<html>log in to the ship's network</html>"
LIES: list[Reply] = [
    (200, TYPE, PORTAL),
    (200, TYPE, INDEX + b" "),
    (200, TYPE, b""),
    (200, {**TYPE, "Content-Encoding": "gzip"}, b"\x1f\x8b" + INDEX),
    (200, {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}, INDEX),
]


@pytest.mark.parametrize("lie", LIES)
def test_PT_08_a_manifest_that_is_not_what_was_asked_for(
    session: requests.Session, lie: Reply
) -> None:
    with scripted(lambda _: lie) as upstream, pytest.raises(UpstreamLied):
        upstream.registry(session).manifest("a", DIGEST)


def test_PT_08_a_wrong_digest_header_is_a_lie_too(session: requests.Session) -> None:
    wrong = {**TYPE, "Docker-Content-Digest": str(Digest.of(b"other"))}
    with scripted(lambda _: (200, wrong, INDEX)) as upstream, pytest.raises(UpstreamLied):
        upstream.registry(session).manifest("a", LATEST)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, UpstreamAbsent),
        (401, UpstreamRefused),
        (403, UpstreamRefused),
        (429, UpstreamUnavailable),
        (500, UpstreamUnavailable),
        (503, UpstreamUnavailable),
        (204, UpstreamUnavailable),
        (302, UpstreamUnavailable),
    ],
)
def test_absent_refused_and_unavailable_are_three_things(
    session: requests.Session, status: int, error: type[UpstreamError]
) -> None:
    reply: Reply = (status, {"Retry-After": "7"}, b"")
    with scripted(lambda _: reply) as upstream, pytest.raises(error) as caught:
        upstream.registry(session).manifest("a", LATEST)
    if isinstance(caught.value, UpstreamUnavailable):
        assert caught.value.retry_after == 7


def test_PT_19_an_endless_manifest_is_given_up(session: requests.Session) -> None:
    huge = b" " * (MAX_MANIFEST_BYTES + 1)
    with scripted(lambda _: (200, TYPE, huge)) as upstream, pytest.raises(UpstreamUnavailable):
        upstream.registry(session).manifest("a", LATEST)


def test_a_body_that_ends_short_is_no_body(session: requests.Session) -> None:
    short = {**TYPE, "Content-Length": "1000"}
    with scripted(lambda _: (200, short, INDEX)) as upstream, pytest.raises(UpstreamUnavailable):
        upstream.registry(session).manifest("a", LATEST)


@pytest.mark.parametrize("status", [200, 404, 403])
def test_a_web_page_is_no_answer_of_a_registry(session: requests.Session, status: int) -> None:
    """A captive portal, or a firewall, answers whatever it likes; that is no 404."""
    page: Reply = (status, {"Content-Type": "text/html; charset=utf-8"}, PORTAL)
    wanted = UpstreamRefused if status == 403 else UpstreamUnavailable
    with scripted(lambda _: page) as upstream:
        registry = upstream.registry(session)
        for ask in (lambda: registry.manifest("a", LATEST), lambda: registry.blob("a", DIGEST)):
            with pytest.raises(wanted):
                ask()
    if status == 200:
        with scripted(lambda _: page) as upstream, pytest.raises(UpstreamUnavailable):
            upstream.registry(session).resolve("a", LATEST)


def test_nobody_there_and_no_such_name(session: requests.Session) -> None:
    with pytest.raises(UpstreamUnavailable, match="refuses connections"):
        client(session, "http://127.0.0.1:9").manifest("a", LATEST)
    with pytest.raises(UpstreamUnavailable, match="cannot be resolved"):
        client(session, "http://name.invalid").manifest("a", LATEST)


@pytest.mark.parametrize("when", ["30", "date"])
def test_how_long_to_wait_is_told_in_seconds_or_as_a_date(
    session: requests.Session, when: str
) -> None:
    text = formatdate(time.time() + 30, usegmt=True) if when == "date" else when
    reply: Reply = (429, {"Retry-After": text}, b"")
    with scripted(lambda _: reply) as upstream, pytest.raises(UpstreamUnavailable) as caught:
        upstream.registry(session).manifest("a", LATEST)
    assert caught.value.retry_after == pytest.approx(30, abs=2)


def _with_tokens(asked: Asked) -> Reply:
    if asked.path.startswith("/token"):
        return 200, {}, json.dumps({"token": "T1", "expires_in": 300}).encode()
    if asked.headers.get("authorization") == "Bearer T1":
        return good(asked)
    realm = f"http://{asked.headers['host']}/token"
    ask = f'Bearer realm="{realm}",service="s",scope="repository:a:pull"'
    return 401, {"WWW-Authenticate": ask}, b""


@pytest.mark.parametrize("credentials", [None, ALICE])
def test_PT_10_a_token_is_fetched_once(
    session: requests.Session, credentials: Credentials | None
) -> None:
    with scripted(_with_tokens) as upstream:
        registry = upstream.registry(session, credentials)
        for _ in range(3):
            assert registry.manifest("a", LATEST).digest == DIGEST
    tokens = [asked for asked in upstream.asked if asked.path.startswith("/token")]
    assert [asked.path for asked in tokens] == ["/token?service=s&scope=repository%3Aa%3Apull"]
    assert tokens[0].headers.get("authorization") == (credentials and credentials.basic)
    assert len(upstream.asked) == 5


def test_PT_10_a_refresh_token_is_exchanged_by_post(session: requests.Session) -> None:
    refresh = Credentials("<token>", "R", refresh=True)
    with scripted(_with_tokens) as upstream:
        upstream.registry(session, refresh).manifest("a", LATEST)
    (post,) = [asked for asked in upstream.asked if asked.method == "POST"]
    assert b"refresh_token=R" in post.body
    assert "authorization" not in post.headers


def test_PT_10_basic(session: requests.Session) -> None:
    def script(asked: Asked) -> Reply:
        if asked.headers.get("authorization") == ALICE.basic:
            return good(asked)
        return 401, {"WWW-Authenticate": "Basic realm=x"}, b""

    assert base64.b64decode(ALICE.basic.split()[1]) == b"alice:CANARY"
    with scripted(script) as upstream:
        assert upstream.registry(session, ALICE).manifest("a", LATEST).digest == DIGEST
        with pytest.raises(UpstreamRefused):
            upstream.registry(session).manifest("a", LATEST)


def test_PT_11_a_foreign_realm_is_never_asked(session: requests.Session) -> None:
    with scripted(_with_tokens, "127.0.0.2") as evil:
        ask = {"WWW-Authenticate": f'Bearer realm="{evil.url}/token",service="s"'}
        with scripted(lambda _: (401, ask, b"")) as upstream, pytest.raises(UpstreamRefused):
            upstream.registry(session, ALICE).manifest("a", LATEST)
    assert evil.asked == []


def test_PT_11_a_foreign_realm_may_give_tokens_to_the_anonymous(
    session: requests.Session,
) -> None:
    """As lscr.io leaves tokens to ghcr.io."""

    def tokens(asked: Asked) -> Reply:
        return 200, {}, b'{"token": "T1"}'

    with scripted(tokens, "127.0.0.2") as other:

        def script(asked: Asked) -> Reply:
            if asked.headers.get("authorization") == "Bearer T1":
                return good(asked)
            return 401, {"WWW-Authenticate": f'Bearer realm="{other.url}/token"'}, b""

        with scripted(script) as upstream:
            assert upstream.registry(session).manifest("a", LATEST).digest == DIGEST
    assert all("authorization" not in asked.headers for asked in other.asked)


def test_PT_11_a_foreign_host_does_not_get_the_password_by_asking(
    session: requests.Session,
) -> None:
    basic = {"WWW-Authenticate": "Basic realm=x"}
    with scripted(lambda _: (401, basic, b""), "127.0.0.2") as evil:
        to = {"Location": f"{evil.url}/v2/"}
        with scripted(lambda _: (307, to, b"")) as upstream, pytest.raises(UpstreamRefused):
            upstream.registry(session, ALICE).manifest("a", LATEST)
    assert all("authorization" not in asked.headers for asked in evil.asked)


def test_PT_12_a_redirect_to_another_port_drops_authorization(session: requests.Session) -> None:
    with scripted(good) as elsewhere:

        def script(asked: Asked) -> Reply:
            if asked.path.startswith("/v2/") and "authorization" in asked.headers:
                return 307, {"Location": f"{elsewhere.url}/signed?sig=x"}, b""
            return _with_tokens(asked)

        with scripted(script) as upstream:
            assert upstream.registry(session, ALICE).manifest("a", LATEST).digest == DIGEST
    (asked,) = elsewhere.asked
    assert asked.path == "/signed?sig=x"
    assert "authorization" not in asked.headers


@pytest.mark.parametrize("target", ["/again", "ftp://x/", "file:///etc/passwd", "http://u:p@x/"])
def test_PT_12_loops_and_other_schemes_end(session: requests.Session, target: str) -> None:
    reply: Reply = (302, {"Location": target}, b"")
    with scripted(lambda _: reply) as upstream, pytest.raises(UpstreamUnavailable, match="redir"):
        upstream.registry(session).manifest("a", LATEST)
    assert len(upstream.asked) <= 6


DATA = bytes(range(256)) * 100
BLOB = Digest.of(DATA)


def _ranged(asked: Asked) -> Reply:
    given = asked.headers.get("range")
    if not given:
        return 200, {}, DATA
    start = int(given.removeprefix("bytes=").rstrip("-"))
    return 206, {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"}, DATA[start:]


@pytest.mark.parametrize("start", [0, 1, 25_599])
def test_a_blob_from_a_byte_on(session: requests.Session, start: int) -> None:
    with scripted(_ranged) as upstream, upstream.registry(session).blob("a", BLOB, start) as body:
        assert (body.size, body.start) == (len(DATA), start)
        assert b"".join(iter(lambda: body.read(1 << 20), b"")) == DATA[start:]


def test_where_it_has_no_byte_it_is_asked_once_for_all(session: requests.Session) -> None:
    """416: our part of the blob is as long as the whole, or longer. RFC 9110 §15.5.17."""

    def nginx(asked: Asked) -> Reply:
        beyond = asked.headers.get("range") == f"bytes={len(DATA)}-"
        return (416, {"Content-Range": f"bytes */{len(DATA)}"}, b"") if beyond else _ranged(asked)

    with scripted(nginx) as upstream:
        with upstream.registry(session).blob("a", BLOB, len(DATA)) as body:
            assert (body.size, body.start) == (len(DATA), 0)
        assert len(upstream.asked) == 2
    with scripted(lambda _: (416, {}, b"")) as upstream:
        for start, asked in ((7, 2), (0, 3)):
            with pytest.raises(UpstreamUnavailable, match="416"):
                upstream.registry(session).blob("a", BLOB, start)
            assert len(upstream.asked) == asked


def test_an_upstream_that_ignores_ranges_starts_at_0(session: requests.Session) -> None:
    reply: Reply = (200, {}, DATA)
    with (
        scripted(lambda _: reply) as upstream,
        upstream.registry(session).blob("a", BLOB, 5) as body,
    ):
        assert (body.start, body.read(3)) == (0, DATA[:3])


@pytest.mark.parametrize(
    "reply",
    [
        (206, {}, DATA[5:]),
        (206, {"Content-Range": f"bytes 4-{len(DATA) - 1}/{len(DATA)}"}, DATA[4:]),
        (206, {"Content-Range": f"bytes 5-9/{len(DATA)}"}, DATA[5:10]),
        (200, {"Content-Encoding": "gzip"}, DATA),
    ],
)
def test_ranges_that_were_not_asked_for(session: requests.Session, reply: Reply) -> None:
    with scripted(lambda _: reply) as upstream, pytest.raises(UpstreamLied):
        upstream.registry(session).blob("a", BLOB, 5)


def test_PT_15_whether_a_repository_has_a_blob(session: requests.Session) -> None:
    with scripted(lambda asked: (200 if "/a/" in asked.path else 404, {}, b"1234")) as upstream:
        assert upstream.registry(session).blob_size("a", BLOB) == 4
        with pytest.raises(UpstreamAbsent):
            upstream.registry(session).blob_size("b", BLOB)


def test_R_06_no_bytes_are_the_blob_of_no_bytes_only(session: requests.Session) -> None:
    """An empty body is whole as soon as it is begun: nothing of it waits for a proof."""
    with scripted(lambda _: (200, {}, b"")) as upstream:
        registry = upstream.registry(session)
        for ask in (registry.blob_size, registry.blob):
            with pytest.raises(UpstreamLied, match="no bytes"):
                ask("a", BLOB)
        assert registry.blob_size("a", Digest.of(b"")) == 0
        with registry.blob("a", Digest.of(b"", "sha512")) as body:
            assert body.size == 0
