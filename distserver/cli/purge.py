"""`distserver purge`: content that must be gone, everywhere and for good. Safe beside servers."""

from __future__ import annotations

import os
import socket
import time

import click

from backends import ReplicaSet
from backends.errors import NotFound
from distserver import app
from distserver.cli.common import configured, require_owner, user_name
from distserver.config import Loaded
from distserver.oci.digests import Digest
from distserver.registry import Registry
from distserver.registry.denied import FRESH_SECONDS, Denial, DenyList
from distserver.registry.needing import images_with
from distserver.registry.purging import erase_content, remove_records

HEARD_SECONDS = FRESH_SECONDS + 1
MAX_REASON = 1000


@click.command()
@click.option("--digest", "digests", multiple=True, metavar="DIGEST", help="What to purge.")
@click.option("--reason", default="", help="Kept with the entry, for `--list`.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--list", "listed", is_flag=True, help="Show what was purged, when, by whom and why.")
@click.option("--allow", multiple=True, metavar="DIGEST", help="Let it be pushed and pulled again.")
@configured()
def purge(
    loaded: Loaded,
    digests: tuple[str, ...],
    reason: str,
    yes: bool,
    listed: bool,
    allow: tuple[str, ...],
) -> None:
    """Erase content for good, on every server.

    For a layer, configuration or manifest with something secret in it. From now on no server of the
    storage serves it, takes it, or fetches it from an upstream; its bytes are erased, also where
    they come back. Images that name it stay, and cannot be pulled whole. Nothing brings the bytes
    back: --allow only lets somebody push them again.

    \b
    distserver purge --digest sha256:... --reason "key in the layer, ticket 4711"
    distserver purge --list
    distserver purge --allow sha256:...
    """
    if bool(digests) + listed + bool(allow) != 1:
        raise click.UsageError("say one of --digest DIGEST, --list and --allow DIGEST")
    require_owner(loaded.config)
    registry = app.open_registry(loaded.config)
    if listed:
        _list(registry.content.denied)
    elif allow:
        _allow(registry.content.denied, allow)
    else:
        wanted = frozenset(map(Digest.parse, digests))
        _deny(registry, wanted, reason, yes)
        _erase(loaded, registry, wanted)


def _deny(registry: Registry, wanted: frozenset[Digest], reason: str, yes: bool) -> None:
    """Write the entries, before anything else where nobody has to be asked."""
    if not yes:
        _show_images(registry, wanted)
        click.confirm(f"Purge {len(wanted)} digests on every server, for good?", abort=True)
    who = f"{user_name(os.getuid())}@{socket.gethostname()}"
    for digest in wanted:
        registry.content.denied.add(Denial(digest, time.time(), who, reason[:MAX_REASON]))
        click.echo(f"denied  {digest}")
    if yes:
        _show_images(registry, wanted)


def _show_images(registry: Registry, wanted: frozenset[Digest]) -> None:
    for image in images_with(registry, wanted):
        click.echo(f"touches {image}")


def _erase(loaded: Loaded, registry: Registry, wanted: frozenset[Digest]) -> None:
    """Erase what was denied, when every server has heard of it and takes none of it any more."""
    time.sleep(HEARD_SECONDS)
    for digest in wanted:
        erase_content(registry.backend, digest)
    remove_records(registry.backend, registry.records, wanted)
    app.forget_purged(loaded.config, registry.backend, wanted)
    for digest in sorted(wanted):
        click.echo(f"purged  {digest}")
    for place in _away(registry):
        click.echo(f"{place} is away: what it has of this is erased when it is back", err=True)


def _away(registry: Registry) -> list[str]:
    """The members of a set that could not be told."""
    if not isinstance(registry.backend, ReplicaSet):
        return []
    members = registry.backend.membership.status()
    return [one.place or one.id for one in members if one.problem]


def _list(denied: DenyList) -> None:
    for entry in denied.entries():
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.time))
        click.echo(f"{entry.digest}  {when}  {entry.who or '-'}  {entry.reason}")


def _allow(denied: DenyList, allow: tuple[str, ...]) -> None:
    for digest in map(Digest.parse, allow):
        try:
            denied.remove(digest)
        except NotFound as exc:
            raise click.ClickException(f"{digest} was not purged here") from exc
        click.echo(f"allowed {digest}")
