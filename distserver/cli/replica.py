"""`distserver replica`: the members of a replica set."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

import click

from backends import ReplicaSet
from backends.replica.repair import Looked
from distserver import app
from distserver.cli.common import configured
from distserver.config import Loaded


@click.group()
def replica() -> None:
    """The replicas of a storage that is made of several.

    The replicas are those that joined; the list in the configuration only says where to look for
    them. Servers may run while one joins or leaves.
    """


@replica.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@configured()
def status(loaded: Loaded, as_json: bool) -> None:
    """Show each replica, and what is wrong with it. Exit code 1 if something is.

    \b
    distserver replica status
    """
    standings = the_set(loaded).membership.status()
    for one in standings:
        if as_json:
            row = {"place": one.place, "id": one.id, "role": one.role, "problem": one.problem}
            click.echo(json.dumps(row))
        else:
            click.echo(f"{one.role:9} {one.place or '-'}  {one.id}  {one.problem or 'ok'}")
    if any(one.problem or one.role != "counts" for one in standings):
        sys.exit(1)


@replica.command()
@click.argument("place")
@click.option(
    "--instead-of",
    metavar="ID",
    help="The replica that is lost for ever, as `status` names it: this one takes its place.",
)
@configured()
def join(loaded: Loaded, place: str, instead_of: str | None) -> None:
    """Fill the empty storage at PLACE and let it count.

    PLACE is in the list of storages of every server. All other replicas must be there. Everything
    is copied first, which takes as long as it takes; repeat the command if it was broken off. Where
    the number of replicas changes, pushes are refused for half a minute at the end.

    A replica whose place was taken must never come back as it is: empty it first.

    \b
    distserver replica join /mnt/d
    distserver replica join /mnt/c --instead-of 5f0c...      the disk of /mnt/c is a new one
    """
    show(the_set(loaded).membership.join(place, instead_of))
    click.echo(f"{place} is a replica now")


@replica.command()
@click.argument("id_", metavar="ID")
@configured()
def leave(loaded: Loaded, id_: str) -> None:
    """Take the replica ID, as `status` names it, out of the set.

    All other replicas must be there, and get everything that they lack first. Pushes are refused
    for half a minute at the end. Then take its place out of the servers' configuration.

    \b
    distserver replica leave 5f0c...
    """
    show(the_set(loaded).membership.leave(id_))
    click.echo(f"{id_} is no replica any more")


def show(steps: Iterable[Looked]) -> None:
    """Print what was copied, and what could not be."""
    for looked in steps:
        for name in looked.copied:
            click.echo(f"copied to {name}: {looked.key}")
        for name, problem in looked.problems.items():
            click.echo(f"FAILED on {name}: {looked.key}: {problem}", err=True)


def the_set(loaded: Loaded) -> ReplicaSet:
    """Open the configured replica set. Raises: UsageError where the storage is none."""
    storage = app.open_storage(loaded.config)
    if not isinstance(storage, ReplicaSet):
        raise click.UsageError("the configuration names one storage, which has no replicas")
    return storage
