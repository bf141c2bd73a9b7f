"""Fixtures of the links: a real registry upstream, and a relay before it on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.links.relay import Relay, relay
from tests.links.upstream import Upstream, docker_registry


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
