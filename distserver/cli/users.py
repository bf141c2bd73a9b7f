"""`distserver user`: the users file, lines of name:bcrypt[:rights]."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import bcrypt
import click

from distserver.api.access import ALL, User, parse_users
from distserver.cli.common import configured
from distserver.config import Loaded


@click.group()
def user() -> None:
    """Add, remove and list the users that may push or delete.

    Servers take a changed users file within a request; nothing needs a restart.
    """


@user.command()
@click.argument("name")
@click.option("--rights", default="pull,push", show_default=True, help="Of pull, push, delete.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@configured()
def add(loaded: Loaded, name: str, rights: str, password_stdin: bool) -> None:
    """Add the user NAME, or give NAME a new password and rights.

    \b
    distserver user add alice                                 asks for the password
    distserver user add ci --rights push --password-stdin < secret
    """
    granted = frozenset(rights.split(","))
    if not _is_name(name):
        raise click.UsageError("a name is printable, has no colon and does not begin with #")
    if not granted <= ALL:
        raise click.UsageError("rights are of pull, push, delete")
    password = _password(password_stdin)
    if not 0 < len(password) <= 72:
        raise click.UsageError("a password has 1 to 72 bytes (bcrypt looks at no more)")
    path, users = _read(loaded)
    users[name] = User(name, bcrypt.hashpw(password, bcrypt.gensalt(10)), granted)
    _write(path, users)


@user.command()
@click.argument("name")
@configured()
def remove(loaded: Loaded, name: str) -> None:
    """Remove the user NAME."""
    path, users = _read(loaded)
    if users.pop(name, None) is None:
        raise click.ClickException(f"no user {name}")
    _write(path, users)


@user.command("list")
@configured()
def list_users(loaded: Loaded) -> None:
    """List users and their rights."""
    for entry in _read(loaded)[1].values():
        click.echo(f"{entry.name}  {','.join(sorted(entry.rights))}")


def _is_name(name: str) -> bool:
    """Whether a line of the users file can begin with the name and mean it."""
    return (
        bool(name)
        and name == name.strip()
        and name.isprintable()
        and not name.startswith("#")
        and ":" not in name
    )


def _password(from_stdin: bool) -> bytes:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n").encode()
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True)).encode()


def _read(loaded: Loaded) -> tuple[Path, dict[str, User]]:
    if not loaded.config.users_file:
        raise click.UsageError("users_file is not configured (set it, or DISTSERVER_USERS_FILE)")
    path = Path(loaded.config.users_file)
    try:
        return path, parse_users(path.read_text() if path.exists() else "")
    except ValueError as exc:
        raise click.ClickException(f"{path}: {exc}") from exc


def _write(path: Path, users: dict[str, User]) -> None:
    lines = (
        f"{entry.name}:{entry.password_hash.decode()}:{','.join(sorted(entry.rights))}\n"
        for entry in users.values()
    )
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        if path.exists():  # the server may run as another user: keep what lets it read
            os.fchown(descriptor, path.stat().st_uid, path.stat().st_gid)
            os.fchmod(descriptor, path.stat().st_mode & 0o777)
        stream.writelines(lines)
        stream.flush()
        os.fsync(descriptor)
    os.replace(temporary, path)  # noqa: PTH105  # servers never see half a file
