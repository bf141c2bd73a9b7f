"""Makes the upstreams of a configuration, and the way to each of them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path

import requests

from distserver.config import Config, UpstreamConfig
from distserver.metrics import Metrics
from distserver.proxy.upstream.auth import Authenticator
from distserver.proxy.upstream.breaker import DIRECTORY, Breaker
from distserver.proxy.upstream.client import Transfer, Transport, new_session
from distserver.proxy.upstream.credentials import Load, docker_config, password_file
from distserver.proxy.upstream.ecr import ecr_password
from distserver.proxy.upstream.limits import limits_of
from distserver.proxy.upstream.mode import Mode
from distserver.proxy.upstream.realms import origin
from distserver.proxy.upstream.registry import UpstreamRegistry
from distserver.proxy.upstream.seats import Seats, seats_of_process, seats_of_upstream
from distserver.proxy.upstream.table import FOREVER, Upstream, Upstreams, base_url
from distserver.proxy.upstream.uplink import Place, Uplink


def upstreams_of(config: Config) -> Upstreams:
    """Return the built-in upstreams with those of the configuration added and changed."""
    tables = {host: _upstream(host, table, config) for host, table in config.upstream.items()}
    return Upstreams(tables, Upstream("", (), ttl_seconds=_ttl(config.tag_ttl_seconds)))


def connector(config: Config, mode: Mode, metrics: Metrics) -> Callable[[Upstream], Uplink]:
    """Return what makes the way to an upstream; all of a process share one session."""
    session, seats = functools.cache(new_session), seats_of_process(config.threads)
    return lambda upstream: _uplink(upstream, config, session(), seats, mode, metrics)


def breaker_of(state: Path, upstream: Upstream, url: str) -> Breaker:
    """Return what this node knows of a base URL of an upstream.

    A member of a family leaves a file only if it answered once, since anybody may name any number.
    """
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    path = state / DIRECTORY / upstream.directory / f"{name}.json"
    return Breaker(path, only_if_met=bool(upstream.family))


def _upstream(host: str, table: UpstreamConfig, config: Config) -> Upstream:
    general = config.tag_ttl_seconds if table.tag_ttl_seconds is None else table.tag_ttl_seconds
    return Upstream(
        name=host,
        urls=table.url or (base_url(host),),
        hosts=tuple(name.lower() for name in table.hosts),
        allow=table.allow,
        deny=table.deny,
        ttl_seconds=_ttl(general),
        ttls=tuple((pattern, _ttl(seconds)) for pattern, seconds in table.tag_ttls.items()),
        honour_deletes=table.honour_deletes,
        signatures=table.signatures,
        max_fetches=table.max_fetches,
        max_bytes_per_second=table.max_bytes_per_second,
    )


def _ttl(seconds: int) -> float:
    return FOREVER if seconds < 0 else float(seconds)


def _uplink(
    upstream: Upstream,
    config: Config,
    session: requests.Session,
    seats: Seats,
    mode: Mode,
    metrics: Metrics,
) -> Uplink:
    table = _table(config, upstream)
    cert = (table.client_cert, table.client_key) if table.client_cert else None
    hosts = frozenset(origin(url)[1] for url in upstream.urls)
    received = metrics.upstream_bytes.labels(upstream.name).inc
    transfer = Transfer(session, Transport(table.ca_file, cert, hosts, table.insecure), received)
    load, state = _credentials(upstream.name, table), Path(config.state)

    def place(url: str) -> Place:
        authenticator = Authenticator(url, transfer, load, table.realm_hosts)
        registry = UpstreamRegistry(url, transfer, authenticator)
        return Place(registry, breaker_of(state, upstream, url))

    limits = limits_of(
        state,
        upstream.directory,
        upstream.max_fetches,
        upstream.max_bytes_per_second,
        seats_of_upstream(config.threads, seats),
    )
    return Uplink(upstream, [place(url) for url in upstream.urls], limits, mode, metrics)


def _table(config: Config, upstream: Upstream) -> UpstreamConfig:
    """The table of an upstream, or of the family that it belongs to."""
    family = "*." + upstream.name.partition(".")[2]
    return config.upstream.get(upstream.name) or config.upstream.get(family) or UpstreamConfig()


def _credentials(host: str, table: UpstreamConfig) -> Load:
    if table.username:
        return password_file(table.username, Path(table.password_file))
    if table.docker_config:
        return docker_config(Path(table.docker_config), host)
    if table.ecr_region:
        return ecr_password(table.ecr_region)
    return lambda: None
