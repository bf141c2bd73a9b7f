"""TLS to upstreams: verified, private authorities, client certificates, proxies of the site."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from distserver.oci.digests import Digest
from distserver.oci.names import Tag
from distserver.proxy.upstream.client import Transport
from distserver.proxy.upstream.errors import UpstreamError, UpstreamUnavailable
from tests.proxy.scripted import Asked, Reply, a_session, client, scripted
from tests.proxy.tls import Pair, authority, issued, server_context

D = Digest.of(b"x")
LATEST = Tag("latest")
HERE = frozenset({"127.0.0.1"})


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with a_session() as made:
        yield made


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return authority(tmp_path_factory.mktemp("ca"), "ca")


@pytest.fixture(scope="module")
def here(ca: Pair) -> Pair:
    """A certificate for 127.0.0.1."""
    return issued(ca.cert.parent, ca, "here", "IP:127.0.0.1")


def good(_: Asked) -> Reply:
    return 200, {"Docker-Content-Digest": str(D)}, b""


def test_a_certificate_of_an_unknown_authority_is_refused(
    session: requests.Session, here: Pair
) -> None:
    with (
        scripted(good, tls=server_context(here)) as upstream,
        pytest.raises(UpstreamUnavailable, match="TLS fails"),
    ):
        client(session, upstream.url, transport=Transport()).resolve("a", LATEST)
    assert upstream.asked == []


def test_a_private_authority_is_trusted_where_it_is_configured(
    session: requests.Session, ca: Pair, here: Pair
) -> None:
    trusting = Transport(ca_file=str(ca.cert))
    with scripted(good, tls=server_context(here)) as upstream:
        assert client(session, upstream.url, transport=trusting).resolve("a", LATEST) == D


def test_the_system_s_authorities_are_those_of_the_system(
    session: requests.Session, ca: Pair, here: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A private authority that the administrator installed needs no configuration here."""
    monkeypatch.setattr(
        "distserver.proxy.upstream.client._system_authorities", lambda: str(ca.cert)
    )
    with scripted(good, tls=server_context(here)) as upstream:
        assert client(session, upstream.url, transport=Transport()).resolve("a", LATEST) == D


def test_a_certificate_for_another_host_is_refused(session: requests.Session, ca: Pair) -> None:
    other = issued(ca.cert.parent, ca, "other", "DNS:other.site")
    trusting = Transport(ca_file=str(ca.cert))
    with (
        scripted(good, tls=server_context(other)) as upstream,
        pytest.raises(UpstreamUnavailable, match="TLS fails"),
    ):
        client(session, upstream.url, transport=trusting).resolve("a", LATEST)


def test_insecure_is_insecure(session: requests.Session, here: Pair) -> None:
    with scripted(good, tls=server_context(here)) as upstream:
        assert client(session, upstream.url).resolve("a", LATEST) == D


def test_mutual_tls(session: requests.Session, ca: Pair, here: Pair) -> None:
    mine = issued(ca.cert.parent, ca, "mine")
    with_cert = Transport(str(ca.cert), (str(mine.cert), str(mine.key)), HERE)
    with scripted(good, tls=server_context(here, clients=ca)) as upstream:
        assert client(session, upstream.url, transport=with_cert).resolve("a", LATEST) == D
        without = client(session, upstream.url, transport=Transport(str(ca.cert)))
        with pytest.raises(UpstreamError):
            without.resolve("a", LATEST)


def test_a_client_certificate_is_shown_to_its_upstream_only(
    session: requests.Session, ca: Pair
) -> None:
    """A redirect leads to a host that asks for one: it gets none."""
    mine = issued(ca.cert.parent, ca, "shown")
    there = issued(ca.cert.parent, ca, "there", "IP:127.0.0.2")
    with_cert = Transport(str(ca.cert), (str(mine.cert), str(mine.key)), HERE)
    here = issued(ca.cert.parent, ca, "home", "IP:127.0.0.1")
    with scripted(good, "127.0.0.2", server_context(there, clients=ca)) as elsewhere:
        to = {"Location": f"{elsewhere.url}/x"}
        with scripted(lambda _: (307, to, b""), tls=server_context(here)) as upstream:
            found = client(session, upstream.url, transport=with_cert)
            with pytest.raises(UpstreamError):
                found.resolve("a", LATEST)
    assert len(upstream.asked) == 1
    assert elsewhere.asked == []


def test_https_does_not_lead_to_http(session: requests.Session, ca: Pair, here: Pair) -> None:
    with scripted(good) as plain:
        to = {"Location": f"{plain.url}/x"}
        with (
            scripted(lambda _: (307, to, b""), tls=server_context(here)) as upstream,
            pytest.raises(UpstreamUnavailable, match="plain http"),
        ):
            client(session, upstream.url, transport=Transport(str(ca.cert))).resolve("a", LATEST)
    assert plain.asked == []


@contextmanager
def tunnel() -> Iterator[tuple[str, list[str]]]:
    """An HTTP proxy that opens tunnels; yields its URL and the hosts that it was asked for."""
    asked: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            _, where, _ = self.rfile.readline().decode().split(" ")
            while self.rfile.readline().strip():
                continue
            asked.append(where)
            host, _, port = where.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=10) as there:
                self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                back = threading.Thread(target=pump, args=(there, self.connection))
                back.start()
                pump(self.connection, there)
                back.join(10)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join(10)


def pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def test_the_site_s_proxy_is_used_as_the_variables_say(
    session: requests.Session, ca: Pair, here: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tunnel() as (url, asked), scripted(good, tls=server_context(here)) as upstream:
        monkeypatch.setenv("HTTPS_PROXY", url)
        monkeypatch.setenv("NO_PROXY", "")
        found = client(session, upstream.url, transport=Transport(str(ca.cert)))
        assert found.resolve("a", LATEST) == D
        assert asked == [upstream.url.partition("//")[2]]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert found.resolve("a", LATEST) == D
        assert len(asked) == 1
        session.close()
