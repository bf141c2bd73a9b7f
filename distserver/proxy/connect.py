"""Makes the upstreams of a configuration, and the clients that speak to them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import requests

from distserver.config import UpstreamConfig
from distserver.proxy.credentials import Load, docker_config, password_file
from distserver.proxy.sources import Connect
from distserver.proxy.upstream_auth import Authenticator
from distserver.proxy.upstream_client import Transfer, Transport, new_session
from distserver.proxy.upstream_registry import Place, UpstreamRegistry
from distserver.proxy.upstreams import Upstream, Upstreams


def upstreams_of(tables: Mapping[str, UpstreamConfig]) -> Upstreams:
    """Return the built-in upstreams with those of the configuration added and changed."""
    return Upstreams({host: _upstream(host, table) for host, table in tables.items()})


def connector(tables: Mapping[str, UpstreamConfig]) -> Connect:
    """Return what makes an upstream's client; all clients of a process share one session."""
    session = functools.cache(new_session)
    return lambda upstream: _client(upstream, tables.get(upstream.name), session())


def _upstream(host: str, table: UpstreamConfig) -> Upstream:
    built_in = Upstreams().find(host)
    urls = table.url or (built_in.urls if built_in else (f"https://{host}",))
    return Upstream(host, urls, table.allow, table.deny)


def _client(
    upstream: Upstream, table: UpstreamConfig | None, session: requests.Session
) -> UpstreamRegistry:
    table = table or UpstreamConfig()
    cert = (table.client_cert, table.client_key) if table.client_cert else None
    transfer = Transfer(session, Transport(table.ca_file, cert, table.insecure))
    load = _credentials(upstream.name, table)
    places = [
        Place(url, Authenticator(url, transfer, load, table.realm_hosts)) for url in upstream.urls
    ]
    return UpstreamRegistry(transfer, places)


def _credentials(host: str, table: UpstreamConfig) -> Load:
    if table.username:
        return password_file(table.username, Path(table.password_file))
    if table.docker_config:
        return docker_config(Path(table.docker_config), host)
    return lambda: None
