"""What commands share: options, the configuration, and errors in plain words."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click

from backends import within
from backends.errors import StorageError
from distserver.config import Config, ConfigError, load
from distserver.oci.errors import RegistryError

Command = Callable[..., Any]


def configured(*flags: str) -> Callable[[Command], Command]:
    """Add --config, --storage and --state to a command and hand it a Loaded as first argument.

    flags  further parameters of the command that are keys of the configuration
    Errors of configuration, storage and registry end the command with exit code 1 and one line.
    """

    def decorate(command: Command) -> Command:
        @click.option("--config", "file", metavar="FILE", help="TOML file with the configuration.")
        @click.option(
            "--storage",
            multiple=True,
            metavar="URL",
            help="Where content is kept: a path, or s3://BUCKET[/PREFIX]; several: a replica set.",
        )
        @click.option("--state", metavar="DIR", help="This node's own state; safe to delete.")
        @wraps(command)
        def run(file: str | None, storage: tuple[str, ...], state: str | None, **rest: Any) -> Any:
            given = {flag: rest.pop(flag) for flag in flags}
            with plain_errors():
                loaded = load(
                    file, os.environ, {**given, "storage": storage or None, "state": state}
                )
                return command(loaded, **rest)

        return run

    return decorate


def require_owner(config: Config) -> None:
    """Refuse to write as root into a storage or state of another user, who could not use it then.

    Raises: ClickException.
    """
    for place in (*config.storage, config.state):
        path = Path(place)
        owner = within(partial(_owner_of, path), place)
        if owner and os.geteuid() == 0:
            name = user_name(owner)
            raise click.ClickException(
                f"{path} belongs to {name}: run this as that user (sudo -u '{name}' …)"
            )


def user_name(uid: int) -> str:
    """Return the name of a user of this machine; #UID where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _owner_of(path: Path) -> int:
    return path.stat().st_uid if path.exists() else 0


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn our errors, and those of files, into one line on standard error and exit code 1."""
    try:
        yield
    except RegistryError as exc:
        raise click.ClickException(f"{exc.code}: {exc.message}") from exc
    except (ConfigError, StorageError) as exc:
        raise click.ClickException(str(exc) or type(exc).__name__) from exc
    except OSError as exc:
        raise click.ClickException(f"{exc.filename}: {exc.strerror}") from exc
