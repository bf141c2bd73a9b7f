"""The composition root: a storage, a registry and a Flask application from a configuration."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from flask import Flask

from backends import Backend, initialise, store_ids, within
from backends.base import Guarded, Watched
from backends.errors import StorageError, Unavailable
from backends.identity import require
from distserver.api import create_api
from distserver.api.access import ALL, Access, Users
from distserver.api.health import Probe
from distserver.api.recent import Recent
from distserver.chores import Chores, chores_of
from distserver.config import DEFAULT_STORAGE, Config, is_loopback, load
from distserver.evicting.making import allowance_of
from distserver.evicting.pulls import Pulls
from distserver.metrics import Metrics, metrics_directory
from distserver.naming import own_names
from distserver.oci.digests import Digest
from distserver.proxy.fetching.allowance import Allowance
from distserver.proxy.fetching.room import Room
from distserver.proxy.healing import FromUpstreams
from distserver.proxy.namespaces import Namespaces
from distserver.proxy.registry import Proxied, proxied
from distserver.proxy.status import Status
from distserver.proxy.upstream.connect import connector, upstreams_of
from distserver.proxy.upstream.mode import Mode
from distserver.registry import Registry, local_registry
from distserver.registry.content import Alarm, Content, no_alarm
from distserver.registry.denied import DenyList
from distserver.registry.hot import Facts, HotContent, Recall, Tier, recalling
from distserver.registry.scrub import Mender
from distserver.storage import open_configured, require_reliable

log = logging.getLogger(__name__)

RESERVE_BYTES = 1 << 30
"""Free space that hot copies leave alone, unless reserve_bytes says otherwise."""
OUTAGE_SECONDS = 3600


def create_server_app(config: Config) -> Flask:
    """Make the application of a server of several processes: they count, and switch, together.

    Raises: ConfigError.
    """
    Mode(Path(config.state), config.mode).announce()
    return create_app(config, Metrics(metrics_directory()))


def create_app(config: Config | None = None, metrics: Metrics | None = None) -> Flask:
    """Make the WSGI application.

        config   None = from the file and the environment, as a server of several processes
        metrics  None = this process counts for itself
    Touches the storage only to learn its id; a storage that is away is no hindrance.
    Raises: ConfigError.
    """
    if config is None:
        return create_server_app(load(environ=os.environ).config)
    metrics = metrics or Metrics()
    mode = Mode(Path(config.state), config.mode)
    backend = _storage(config, metrics)
    hot = _hot(config, backend, _alarm(config, metrics))
    made = _proxied(config, mode, metrics, backend, hot.content, allowance_of(config))
    registry = recalling(made.registry, hot)
    app = Flask("distserver", static_folder=None, template_folder="api/templates")
    names = Namespaces(app.wsgi_app, upstreams_of(config), own_names(config))
    app.wsgi_app = names  # type: ignore[method-assign]
    _extend(app, config, metrics, registry.backend)
    pulls = app.extensions["distserver.pulls"]
    chores = chores_of(config, made, hot, pulls, mode, metrics)
    app.extensions["distserver.after_fork"] = partial(_begin, app, registry.backend, chores)
    app.extensions["distserver.before_exit"] = chores.stop
    create_api(app, registry, _access(config), config.deletes_enabled)
    return app


def _begin(app: Flask, backend: Backend, chores: Chores) -> None:
    """Begin, in a worker, what goes on beside its requests."""
    if isinstance(backend, Watched):
        backend.watch()
    app.extensions["distserver.probe"].begin()
    chores.start()


def _extend(app: Flask, config: Config, metrics: Metrics, backend: Backend) -> None:
    """Give the views what they ask beside the registry."""
    state = Path(config.state)
    app.extensions["distserver.probe"] = Probe(backend)
    app.extensions["distserver.config"] = config
    app.extensions["distserver.metrics"] = metrics
    app.extensions["distserver.status"] = Status(config)
    app.extensions["distserver.recent"] = Recent(state)
    app.extensions["distserver.pulls"] = Pulls(state)


def open_proxied(config: Config, mode: Mode, metrics: Metrics) -> Proxied:
    """Open a registry that brings what it lacks from the upstreams; it makes no hot copies."""
    backend = _storage(config, metrics)
    content = Content(backend, _alarm(config, metrics), _denied(config, backend))
    return _proxied(config, mode, metrics, backend, content)


def open_mender(config: Config) -> tuple[Registry, Mender]:
    """Open the registry of what is stored, and what mends it from replicas and upstreams."""
    mode = Mode(Path(config.state), config.mode)
    made = open_proxied(config, mode, Metrics())
    held = local_registry(made.registry.backend, 0, content=made.registry.content)
    return held, Mender(held, [FromUpstreams(made.bringing, held.content)])


def open_registry(config: Config) -> Registry:
    """Open the registry over the configured storage.

    What is removed through it is not served by a server of this node during an outage either.
    """
    backend = open_storage(config)
    content = Content(backend, denied=_denied(config, backend))
    registry = local_registry(backend, config.manifest_cache_bytes, content=content)
    return recalling(registry, _hot(config, backend))


def forget_purged(config: Config, backend: Backend, digests: frozenset[Digest]) -> None:
    """Remove what this node's state has of purged content. Raises: OSError."""
    _hot(config, backend).forget(digests)
    Room(Path(config.state) / "partial", 0, 0).forget(digests)


def open_storage(config: Config, damaged: Callable[[str], None] = lambda _: None) -> Backend:
    """Open the configured storage, bound to the id that the configuration or the state remembers.

    The first id met is remembered, so that another storage under the same path is noticed; and a
    storage that is met for the first time is examined.

    damaged  told of the URL of a replica, for each damaged copy that is found
    """
    expected = config.storage_id or remembered_id(config)
    backend = _open(config, expected, damaged)
    try:
        if expected is None:
            ids = store_ids(backend)
            if not ids:
                log.warning("%s is not initialised: `distserver init` does it", config.storage[0])
                return backend
            expected = min(ids)
            remember_id(config, expected)
            backend = _open(config, expected, damaged)
        require_reliable(config, backend, expected)
    except StorageError as exc:
        log.warning("the storage cannot be used yet: %s", exc)
    return backend


def initialise_storage(config: Config) -> str:
    """Give an entirely empty storage its identity; return the id, also of one that has it already.

    A directory that does not exist is made: whoever asks for this means this path. Not so where an
    id is known already: then a storage that is missing, empty or another is one not mounted.
    Raises: StorageError.
    """
    known = config.storage_id or remembered_id(config)
    backend = _open(config, known if len(config.storage) > 1 else None)
    if known and isinstance(backend, Guarded):
        return require(known, store_ids(backend), config.storage[0])
    for place in config.storage if not known else ():
        if place.startswith("/"):
            _make_directory(Path(place))
    found = initialise(backend)
    remember_id(config, found)
    require_reliable(config, backend, found)
    return found


def remembered_id(config: Config) -> str | None:
    """The storage id that this node met first; None if it met none."""
    try:
        return (Path(config.state) / "storage_id").read_text().strip() or None
    except FileNotFoundError:
        return None


def remember_id(config: Config, storage_id: str) -> None:
    """Keep the storage id in the state directory."""
    state = Path(config.state)
    state.mkdir(parents=True, exist_ok=True)
    (state / "storage_id").write_text(storage_id + "\n")


def initialises_by_itself(config: Config) -> bool:
    """Whether serve may initialise: only at the built-in path, which no one mounted by mistake."""
    return config.storage == (DEFAULT_STORAGE,)


def _make_directory(path: Path) -> None:
    try:
        within(partial(path.mkdir, parents=True, exist_ok=True), str(path))
    except OSError as exc:
        raise Unavailable(f"{path}: {exc.strerror}") from exc


def _proxied(
    config: Config,
    mode: Mode,
    metrics: Metrics,
    backend: Backend,
    content: Content,
    allowance: Allowance | None = None,
) -> Proxied:
    connect = connector(config, mode, metrics)
    held = local_registry(backend, config.manifest_cache_bytes, content=content)
    return proxied(held, upstreams_of(config), connect, config, mode, metrics, allowance)


def _storage(config: Config, metrics: Metrics) -> Backend:
    """Open the storage for a server: damaged copies of its replicas are counted."""
    return open_storage(config, lambda part: metrics.corrupt.labels(part).inc())


def _alarm(config: Config, metrics: Metrics) -> Alarm:
    counted = metrics.corrupt.labels(config.storage[0])
    return lambda _: counted.inc()


def _hot(config: Config, backend: Backend, alarm: Alarm = no_alarm) -> Recall:
    """The hot tier of this node, without a size when it is switched off."""
    directory, reserve = Path(config.state) / "hot", config.reserve_bytes
    tier = Tier(directory, config.hot_bytes, reserve if reserve >= 0 else RESERVE_BYTES)
    seconds = _outage_seconds(config) if config.hot_bytes else 0
    content = HotContent(backend, alarm, tier, _denied(config, backend))
    return Recall(content, Facts(Path(config.state) / "facts", seconds))


def _denied(config: Config, backend: Backend) -> DenyList:
    return DenyList(backend, Path(config.state) / "denied")


def _outage_seconds(config: Config) -> int:
    if config.outage_seconds >= 0:
        return config.outage_seconds
    return OUTAGE_SECONDS if len(config.storage) == 1 else 0


def _open(
    config: Config, expected: str | None, damaged: Callable[[str], None] = lambda _: None
) -> Backend:
    return open_configured(config, config.storage, expected, damaged)


def _access(config: Config) -> Access:
    open_to_all = config.allow_anonymous_push or (
        is_loopback(config.listen) and not config.users_file
    )
    users = Users(Path(config.users_file)) if config.users_file else None
    who = "anyone" if open_to_all else "users of the users file" if users else "nobody"
    log.info("pull: anyone; push: %s", who)
    return Access(users, ALL if open_to_all else frozenset({"pull"}))
