"""Redirects and headers that no upstream should send: no secret follows, nothing is unpacked."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest

from distserver.oci.digests import Digest
from distserver.oci.names import Tag
from distserver.proxy.upstream.credentials import Credentials
from distserver.proxy.upstream.errors import UpstreamError, UpstreamUnavailable
from tests.proxy.scripted import Asked, Reply, a_session, scripted

TAG = Tag("v1")
D = Digest.of(b"x")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_PT_11_a_refresh_token_follows_no_redirect_to_another_host(code: int) -> None:
    def script(asked: Asked) -> Reply:
        if asked.path.startswith("/token"):
            return code, {"Location": f"{evil.url}/steal"}, b""
        realm = f'Bearer realm="{upstream.url}/token",service="s"'
        return 401, {"WWW-Authenticate": realm}, b""

    token = Credentials("<token>", "TOP-SECRET", refresh=True)
    with (
        scripted(lambda _: (200, {}, b'{"token": "x"}'), "127.0.0.2") as evil,
        scripted(script) as upstream,
        a_session() as session,
    ):
        with pytest.raises(UpstreamError):
            upstream.registry(session, token).resolve("a/b", TAG)
        assert all(b"TOP-SECRET" not in asked.body for asked in evil.asked)
        assert any(b"TOP-SECRET" in asked.body for asked in upstream.asked)


def test_PT_19_the_body_of_a_redirect_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(64 << 20), 1)

    def script(asked: Asked) -> Reply:
        if asked.path.startswith("/v2/"):
            return 307, {"Location": "/x", "Content-Encoding": "gzip"}, bomb
        return 404, {}, b""

    with scripted(script) as upstream, a_session() as session:
        tracemalloc.start()
        with pytest.raises(UpstreamError):
            upstream.registry(session).manifest("a/b", TAG)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize("target", ["http://[oops/", "http://[::1", "//[", "ftp://x/", "http:///"])
def test_a_redirect_to_what_is_no_url_is_unavailable(target: str) -> None:
    with (
        scripted(lambda _: (307, {"Location": target}, b"")) as upstream,
        a_session() as session,
        pytest.raises(UpstreamUnavailable),
    ):
        upstream.registry(session).blob("a/b", D)


@pytest.mark.parametrize("when", ["1 Jan 99999999999 00:00:00 GMT", "9" * 400, "-1", "soon", ""])
def test_a_strange_retry_after_says_nothing_or_is_bounded(when: str) -> None:
    with (
        scripted(lambda _: (503, {"Retry-After": when}, b"")) as upstream,
        a_session() as session,
        pytest.raises(UpstreamUnavailable) as caught,
    ):
        upstream.registry(session).resolve("a/b", TAG)
    assert (caught.value.retry_after or 0) <= 60


@pytest.mark.parametrize("life", ["1e999", "-5", '"x"', "[]", str(10**400), "null"])
def test_a_strange_life_of_a_token_is_bounded_or_refused(life: str) -> None:
    def script(asked: Asked) -> Reply:
        if asked.path.startswith("/token"):
            return 200, {}, f'{{"token": "t", "expires_in": {life}}}'.encode()
        if "authorization" in asked.headers:
            return 404, {}, b""
        return 401, {"WWW-Authenticate": f'Bearer realm="{upstream.url}/token"'}, b""

    with scripted(script) as upstream, a_session() as session, pytest.raises(UpstreamError):
        upstream.registry(session).resolve("a/b", TAG)
