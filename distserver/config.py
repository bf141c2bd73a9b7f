"""The one reader of configuration: defaults, a TOML file, DISTSERVER_* variables, flags; later win.

Every key is a field of Config with its default and its unit. Unknown keys and bad values stop the
start with one message that names the key. Secrets are files, never values.
"""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from distserver.config_values import read_value

DEFAULT_FILE = Path("/etc/distserver/config.toml")
DEFAULT_STORAGE = "/var/lib/distserver/storage"
PREFIX = "DISTSERVER_"


class ConfigError(ValueError):
    """A key is unknown or its value is not usable; the text names it."""


def key(default: Any, text: str) -> Any:
    """A key of the configuration: its default and what it means."""
    return field(default=default, metadata={"text": text})


@dataclass(frozen=True, slots=True)
class UpstreamConfig:
    """A table `[upstream."HOST"]`: adds an upstream, or changes a built-in one."""

    url: tuple[str, ...] = key((), "base URLs, tried in order; empty = https://HOST")
    hosts: tuple[str, ...] = key(
        (), "host[:port] of ours under which every name means this upstream: docker's mirrors"
    )
    allow: tuple[str, ...] = key((), "patterns of repositories that may be fetched; empty = all")
    deny: tuple[str, ...] = key((), "patterns of repositories that may not be fetched")
    username: str = key("", "user at the upstream; needs password_file, and allow")
    password_file: str = key("", "file whose first line is the password")
    docker_config: str = key("", "Docker's config.json with credentials, or helpers that have them")
    ecr_region: str = key(
        "", "AWS region whose ECR gives the password, by the usual AWS credentials"
    )
    realm_hosts: tuple[str, ...] = key((), "further hosts whose token servers may see credentials")
    ca_file: str = key("", "PEM file of the authorities to trust; empty = the system's")
    client_cert: str = key("", "PEM file of a client certificate")
    client_key: str = key("", "PEM file of its key")
    insecure: bool = key(False, "allow plain http and unverified TLS")
    tag_ttl_seconds: int | None = key(None, "as the general key; unset = what that one says")
    tag_ttls: Mapping[str, int] = field(
        default_factory=dict,
        metadata={
            "text": "the same by pattern of TAG or REPOSITORY:TAG, the first that fits holds: "
            '{ "latest" = 60, "app/*:v*" = -1 }'
        },
    )
    honour_deletes: bool = key(False, "a tag that is gone upstream goes here too")
    signatures: bool = key(True, "referrers and cosign's tags of a pulled image come with it")
    max_fetches: int = key(8, "blobs fetched at once by a node")
    max_bytes_per_second: int = key(0, "bytes a second that a node takes; 0 = no limit")

    @property
    def has_credentials(self) -> bool:
        """Whether requests may carry somebody's rights."""
        given = (self.username, self.docker_config, self.ecr_region, self.client_cert)
        return any(given)


@dataclass(frozen=True, slots=True)
class Config:
    """All that can be set. Units are in the names."""

    listen: str = key("127.0.0.1:5000", "address and port to serve on; port 0 = any free one")
    storage: tuple[str, ...] = key(
        (DEFAULT_STORAGE,), "where content is kept: a path or a URL; several are a replica set"
    )
    degraded_ack: int = key(
        0, "1 = of two replicas, one is enough to acknowledge a push; 0 = a majority"
    )
    state: str = key(
        "/var/lib/distserver/state", "directory of this node's own state; safe to delete"
    )
    storage_id: str = key(
        "", "id that the storage must carry; empty = the one met first, kept in state"
    )
    names: tuple[str, ...] = key((), "host[:port] under which clients know this server")
    users_file: str = key(
        "", "lines name:bcrypt[:rights], rights of pull,push,delete (default pull,push)"
    )
    allow_anonymous_push: bool = key(False, "let anyone push and delete, also beyond loopback")
    deletes_enabled: bool = key(True, "whether tags, manifests and blobs may be deleted at all")
    tls_cert: str = key("", "PEM file of the certificate chain; empty = plain HTTP")
    tls_key: str = key("", "PEM file of the certificate's key")
    workers: int = key(0, "processes; 0 = one for each core")
    threads: int = key(64, "requests that a worker serves at once")
    reserve_bytes: int = key(
        -1, "free space that pushes leave alone; -1 = the larger of 1 GiB and 2 %"
    )
    manifest_cache_bytes: int = key(64 << 20, "memory for manifests, bytes a worker")
    upload_expiry_seconds: int = key(86400, "an upload without progress is given up after this")
    stall_timeout_seconds: int = key(60, "a connection that neither takes nor gives a byte is cut")
    graceful_timeout_seconds: int = key(3600, "how long a stopping worker lets transfers finish")
    log_format: str = key("plain", "plain or json: one line a request on standard error")
    mode: str = key("online", "online, prefer-cache (held tags are not revalidated) or offline")
    tag_ttl_seconds: int = key(
        300, "a pulled tag is not asked for again within this; 0 = always ask, -1 = never again"
    )
    platforms: tuple[str, ...] = key(
        (), "such as linux/arm64: of an index these come too; empty = those that are asked for"
    )
    partial_bytes: int = key(
        32 << 30, "that blobs on their way may take in state; what is more is not kept"
    )
    upstream: Mapping[str, UpstreamConfig] = field(
        default_factory=dict, metadata={"text": "tables of upstreams, by host; only in the file"}
    )


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, which source set each key, and what reads all of it again."""

    config: Config
    sources: Mapping[str, str]
    again: Callable[[], Loaded] = field(repr=False)


def load(
    file: str | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Loaded:
    """Read the configuration.

        file     path of the TOML file; None = DISTSERVER_CONFIG, else DEFAULT_FILE if it is there
        environ  environment variables
        flags    values from the command line by key; None = not given
    Raises: ConfigError.
    """
    environ = environ or {}
    values: dict[str, Any] = {}
    sources = {f.name: "default" for f in fields(Config)}
    for source, given in (
        _from_file(file or environ.get(PREFIX + "CONFIG") or None),
        ("environment", _from_environ(environ)),
        ("flag", {k: v for k, v in (flags or {}).items() if v is not None}),
    ):
        for name, value in given.items():
            values[name] = _convert(name, value, source)
            sources[name] = source
    if "storage" in values:
        values["storage"] = tuple(_absolute(url) for url in values["storage"])
    config = Config(**values)
    _check(config)
    return Loaded(config, sources, partial(load, file, environ, flags))


def _absolute(url: str) -> str:
    """A path as a full path, so that it means the same to whoever reads it later."""
    return url if "://" in url else str(Path(url).absolute())


def _from_file(path: str | None) -> tuple[str, dict[str, Any]]:
    if path is None and not DEFAULT_FILE.exists():
        return "", {}
    chosen = Path(path) if path else DEFAULT_FILE
    try:
        with chosen.open("rb") as stream:
            return str(chosen), tomllib.load(stream)
    except OSError as exc:
        raise ConfigError(f"{chosen}: {exc.strerror}") from exc
    except ValueError as exc:  # not TOML, not UTF-8
        raise ConfigError(f"{chosen}: {exc}") from exc


def _from_environ(environ: Mapping[str, str]) -> dict[str, str]:
    names = (name for name in environ if name.startswith(PREFIX) and name != PREFIX + "CONFIG")
    return {name.removeprefix(PREFIX).lower(): environ[name] for name in names}


def _convert(name: str, value: Any, source: str) -> Any:
    if name == "upstream":
        return _upstreams(value, source)
    return _convert_as(Config, name, value, source)


def _upstreams(value: Any, source: str) -> dict[str, UpstreamConfig]:
    if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
        raise ConfigError(f'{source}: upstream is tables, [upstream."HOST"]')
    return {host.lower(): _upstream(host, table, source) for host, table in value.items()}


def _upstream(host: str, table: Mapping[str, Any], source: str) -> UpstreamConfig:
    where = f"{source}: upstream {host}"
    made = UpstreamConfig(**{k: _convert_as(UpstreamConfig, k, v, where) for k, v in table.items()})
    if not all(map(_is_base_url, made.url)):
        raise ConfigError(f"{where}: url is https://HOST or http://HOST, without a user")
    if any(url.startswith("http://") for url in made.url) and not made.insecure:
        raise ConfigError(f"{where}: a url with http:// needs insecure = true")
    if made.has_credentials and not made.allow:
        raise ConfigError(f'{where}: credentials need allow, such as ["team/*"]')
    if bool(made.username) != bool(made.password_file):
        raise ConfigError(f"{where}: username and password_file go together")
    if bool(made.client_cert) != bool(made.client_key):
        raise ConfigError(f"{where}: client_cert and client_key go together")
    if sum(map(bool, (made.username, made.docker_config, made.ecr_region))) > 1:
        raise ConfigError(f"{where}: one of username, docker_config and ecr_region is enough")
    _check_ttls(where, made.tag_ttl_seconds or 0, *made.tag_ttls.values())
    if made.max_fetches < 1 or made.max_bytes_per_second < 0:
        raise ConfigError(f"{where}: max_fetches is at least 1, max_bytes_per_second at least 0")
    return made


def _is_base_url(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None


def _check_ttls(where: str, *seconds: int) -> None:
    if min(seconds) < -1:
        raise ConfigError(f"{where}: a tag's time is seconds, 0 = always ask, or -1 = never again")


def _convert_as(kind: type, name: str, value: Any, source: str) -> Any:
    hint = typing.get_type_hints(kind).get(name)
    if hint is None:
        raise ConfigError(f"{source}: unknown key {name}")
    try:
        return read_value(hint, value)
    except ValueError as exc:
        raise ConfigError(f"{source}: {name} cannot be {value!r}: {exc} is wanted") from exc


def _check(config: Config) -> None:
    if bool(config.tls_cert) != bool(config.tls_key):
        raise ConfigError("tls_cert and tls_key go together")
    if config.log_format not in ("plain", "json"):
        raise ConfigError("log_format is plain or json")
    if config.mode not in ("online", "prefer-cache", "offline"):
        raise ConfigError("mode is online, prefer-cache or offline")
    _check_storage(config.storage, config.degraded_ack)
    for name in (
        "threads",
        "stall_timeout_seconds",
        "graceful_timeout_seconds",
        "upload_expiry_seconds",
    ):
        if getattr(config, name) < 1:
            raise ConfigError(f"{name} must be at least 1")
    if config.workers < 0 or config.reserve_bytes < -1 or config.manifest_cache_bytes < 0:
        raise ConfigError("workers, reserve_bytes and manifest_cache_bytes cannot be negative")
    if config.partial_bytes < 0:
        raise ConfigError("partial_bytes cannot be negative")
    if wrong := [text for text in config.platforms if text.count("/") not in (1, 2)]:
        raise ConfigError(f"platforms: {wrong[0]!r} is not os/architecture[/variant]")
    _check_ttls("tag_ttl_seconds", config.tag_ttl_seconds)
    parse_listen(config.listen)


def _check_storage(storage: tuple[str, ...], degraded_ack: int) -> None:
    if not storage or len(set(storage)) != len(storage):
        raise ConfigError("storage names one place, or several different ones")
    if degraded_ack not in (0, 1) or (degraded_ack and len(storage) != 2):
        raise ConfigError("degraded_ack is 0, or 1 with two places in storage")


def parse_listen(listen: str) -> tuple[str, int]:
    """Split `host:port`, `[v6]:port` or `unix:/path` (port 0). Raises: ConfigError."""
    if listen.startswith("unix:"):
        return listen, 0
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"listen: {listen!r} is not host:port")
    return host.strip("[]"), int(port)


def is_loopback(listen: str) -> bool:
    """Whether only this machine can reach the address."""
    host, _ = parse_listen(listen)
    return host.startswith(("unix:", "127.")) or host in ("::1", "localhost")
