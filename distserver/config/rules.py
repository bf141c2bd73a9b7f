"""Which values fit together. What does not stops the start, with one message that names the key."""

from __future__ import annotations

from urllib.parse import urlsplit

from distserver.config.keys import Config, ConfigError, UpstreamConfig

MIN_UNTAGGED_SECONDS = 7200
"""No push rests on records as old as that: they are renewed each hour."""


def check(config: Config) -> None:
    """Refuse a configuration whose keys do not fit together. Raises: ConfigError."""
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
    _check_room(config)
    if config.workers < 0 or config.reserve_bytes < -1 or config.manifest_cache_bytes < 0:
        raise ConfigError("workers, reserve_bytes and manifest_cache_bytes cannot be negative")
    if wrong := [text for text in config.platforms if text.count("/") not in (1, 2)]:
        raise ConfigError(f"platforms: {wrong[0]!r} is not os/architecture[/variant]")
    _check_ttls("tag_ttl_seconds", config.tag_ttl_seconds)
    _check_endpoints(config)
    parse_listen(config.listen)


def _check_room(config: Config) -> None:
    if min(config.partial_bytes, config.hot_bytes) < 0 or config.outage_seconds < -1:
        raise ConfigError("partial_bytes, hot_bytes and outage_seconds cannot be negative")
    if min(config.scrub_days, config.scrub_bytes_per_second) < 0:
        raise ConfigError("scrub_days and scrub_bytes_per_second cannot be negative")
    if config.cache_bytes < 0 or config.cache_free_bytes < -1:
        raise ConfigError("cache_bytes and cache_free_bytes cannot be negative")
    for name in ("gc_interval_seconds", "gc_grace_seconds", "gc_hold_seconds"):
        if getattr(config, name) < 0:
            raise ConfigError(f"{name} cannot be negative")
    if config.untagged_seconds and config.untagged_seconds < MIN_UNTAGGED_SECONDS:
        raise ConfigError(f"untagged_seconds is 0, or at least {MIN_UNTAGGED_SECONDS}")


def _check_endpoints(config: Config) -> None:
    for name in ("s3_endpoint", "s3_redirect_endpoint"):
        if (url := getattr(config, name)) and not _is_base_url(url):
            raise ConfigError(f"{name} is https://HOST or http://HOST, without a user")


def _check_storage(storage: tuple[str, ...], degraded_ack: int) -> None:
    if not storage or len(set(storage)) != len(storage):
        raise ConfigError("storage names one place, or several different ones")
    if degraded_ack not in (0, 1) or (degraded_ack and len(storage) != 2):
        raise ConfigError("degraded_ack is 0, or 1 with two places in storage")


def check_upstream(made: UpstreamConfig, where: str) -> None:
    """Refuse a table whose keys do not fit together. Raises: ConfigError, saying where."""
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


def _is_base_url(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None


def _check_ttls(where: str, *seconds: int) -> None:
    if min(seconds) < -1:
        raise ConfigError(f"{where}: a tag's time is seconds, 0 = always ask, or -1 = never again")


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
