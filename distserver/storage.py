"""Opens storages as the configuration says: what every command and server does alike."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from backends import Backend, S3Options, open_backend
from backends.check import Examines
from backends.errors import Unavailable
from distserver.config import Config, ConfigError

log = logging.getLogger(__name__)


def open_configured(
    config: Config,
    urls: Sequence[str],
    expected_id: str | None = None,
    damaged: Callable[[str], None] = lambda _: None,
) -> Backend:
    """Open a storage, or the replica set that several are; nothing is touched.

        expected_id  the id that it must carry; None = the first one met
        damaged      told of the URL of a replica, for each damaged copy that is found
    Raises: ConfigError, if one is no URL of a storage.
    """
    try:
        return open_backend(
            *urls,
            expected_id=expected_id,
            reserve_bytes=None if config.reserve_bytes < 0 else config.reserve_bytes,
            s3=_s3(config),
            degraded_ack=bool(config.degraded_ack) and len(urls) > 1,
            damaged=damaged,
        )
    except ValueError as exc:
        raise ConfigError(str(exc)) from exc


def require_reliable(config: Config, backend: Backend, store_id: str) -> None:
    """Examine a storage of a kind that may do wrong, once; the state remembers which it was.

    After a failed examination every verb of the backend raises Unavailable.
    Raises: Unavailable (also: could not be asked; then the next start asks).
    Blocks on: half a minute at most, where there is something to examine.
    """
    state = Path(config.state)
    note = state / f"examined-{store_id}"
    if not isinstance(backend, Examines) or note.exists():
        return
    for result in backend.examine():
        if not result.ok:
            raise Unavailable(f"{result.name}: {result.message}")
        log.info("examined: %s: %s", result.name, result.message)
    try:
        state.mkdir(parents=True, exist_ok=True)
        note.touch()
    except OSError as exc:
        log.warning("the next start examines %s again: %s", store_id, exc)


def _s3(config: Config) -> S3Options:
    return S3Options(
        endpoint=config.s3_endpoint,
        region=config.s3_region,
        ca_file=config.s3_ca_file,
        path_style=config.s3_path_style,
        redirect_endpoint=config.s3_redirect_endpoint,
        connections=config.threads,
    )
