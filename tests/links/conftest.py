"""Fixtures of the links: a real registry upstream, and relays before it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.links.netns import Link, a_link
from tests.links.relay import Relay, relay
from tests.links.upstream import Upstream, docker_registry


@dataclass(frozen=True)
class Site:
    """A place behind one link: link.near is the site, the relay at the far end the world."""

    link: Link
    relay: Relay


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """A docker-registry for all tests; each pushes to repositories of its own."""
    with docker_registry(tmp_path_factory.mktemp("upstream") / "registry") as host:
        yield Upstream(host)


@pytest.fixture
def link(upstream: Upstream) -> Iterator[Relay]:
    """A relay before the upstream, on loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    with relay(upstream.host, listener) as running:
        yield running


@pytest.fixture
def site(upstream: Upstream) -> Iterator[Site]:
    """A relay before the upstream, at the far end of a link between two network namespaces."""
    with a_link() as link, relay(upstream.host, link.listener()) as running:
        yield Site(link, running)
