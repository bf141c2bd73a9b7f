"""Opens storages as the configuration says: what every command and server does alike."""

from __future__ import annotations

from backends import Backend, S3Options, open_backend
from distserver.config import Config, ConfigError


def open_configured(config: Config, url: str, expected_id: str | None = None) -> Backend:
    """Open a storage; nothing is touched.

        expected_id  the id that it must carry; None = the first one met
    Raises: ConfigError, if this is no URL of a storage.
    """
    reserve = None if config.reserve_bytes < 0 else config.reserve_bytes
    try:
        return open_backend(url, expected_id=expected_id, reserve_bytes=reserve, s3=_s3(config))
    except ValueError as exc:
        raise ConfigError(str(exc)) from exc


def _s3(config: Config) -> S3Options:
    return S3Options(
        endpoint=config.s3_endpoint,
        region=config.s3_region,
        ca_file=config.s3_ca_file,
        path_style=config.s3_path_style,
        redirect_endpoint=config.s3_redirect_endpoint,
        connections=config.threads,
    )
