"""Reads the configuration: defaults, a TOML file, DISTSERVER_* variables, flags; later ones win."""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from distserver.config.keys import Config, ConfigError, UpstreamConfig
from distserver.config.rules import check, check_upstream
from distserver.config.values import read_value

DEFAULT_FILE = Path("/etc/distserver/config.toml")
PREFIX = "DISTSERVER_"


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
    check(config)
    return Loaded(config, sources, partial(load, file, environ, flags))


def to_environ(config: Config) -> dict[str, str]:
    """Return the variables by which another process reads the same; tables are left out."""
    values = {f.name: getattr(config, f.name) for f in fields(Config) if f.name != "upstream"}
    return {PREFIX + name.upper(): _spelled(v) for name, v in values.items() if v is not None}


def _spelled(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


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
    check_upstream(made, where)
    return made


def _convert_as(kind: type, name: str, value: Any, source: str) -> Any:
    hint = typing.get_type_hints(kind).get(name)
    if hint is None:
        raise ConfigError(f"{source}: unknown key {name}")
    try:
        return read_value(hint, value)
    except ValueError as exc:
        raise ConfigError(f"{source}: {name} cannot be {value!r}: {exc} is wanted") from exc
