"""`distserver repair`: the replicas of a set made equal; damaged content from what holds a copy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from backends.replica.repair import Round
from distserver import app
from distserver.bundle.errors import BundleError
from distserver.bundle.mending import Gap, find_gaps, take_from
from distserver.cli.common import configured, require_owner
from distserver.cli.replica import show, the_set
from distserver.config import Config, Loaded
from distserver.oci.digests import Digest


@click.command()
@click.option(
    "--from",
    "source",
    metavar="PATH",
    type=click.Path(exists=True, path_type=Path),
    help="What holds good copies: whatever `load` reads, or the directory of another storage.",
)
@configured()
def repair(loaded: Loaded, source: Path | None) -> None:
    """Give replicas what they lack, or mend damage.

    Without --from, of a replica set: servers do this by themselves, once a day, and at once for
    what they know to be missing. Nothing is ever removed. `distserver verify` reads all bytes of
    all replicas and mends damaged copies. Exit code 1 if a replica could not be reached, or still
    lacks something.

    With --from, of any storage: takes content that images here need and that is known to be damaged
    or missing (the scrub finds it, or `distserver verify`), and nothing else. Every byte is proved
    by its digest first. Exit code 1 if something is still damaged or missing; it is named.

    \b
    distserver repair
    distserver repair --from /media/usb/bundle.tar
    distserver repair --from /mnt/old/storage
    """
    if source:
        _repair_from(loaded.config, source)
    else:
        _make_equal(loaded)


def _make_equal(loaded: Loaded) -> None:
    storage, result = the_set(loaded), Round()
    show(storage.repair.look(result))
    for name, problem in (result.unread or {}).items():
        click.echo(f"not compared {name}: {problem}", err=True)
    click.echo(f"{result.keys} entries compared, {result.copied} copies written")
    if not result.whole:
        raise click.ClickException("not all replicas have everything")
    storage.compared()


def _repair_from(config: Config, source: Path) -> None:
    require_owner(config)
    registry = app.open_registry(config)
    gaps, done = find_gaps(registry), set[Digest]()
    try:
        while mended := list(take_from(source, registry, _without(gaps, done))):
            for digest in mended:
                click.echo(f"mended {digest}: from {source}")
            done.update(mended)
            gaps = find_gaps(registry)  # what a lost manifest names shows only now
    except BundleError as exc:
        raise click.ClickException(f"{source}: {exc}") from exc
    bad = {digest: gap for digest, gap in gaps.items() if not gap.awaited}
    for digest, gap in bad.items():
        click.echo(f"still bad {digest}: {_needed_by(gap)}", err=True)
    if bad:
        raise click.ClickException(f"{len(bad)} are still damaged or missing")


def _without(gaps: Mapping[Digest, Gap], done: set[Digest]) -> dict[Digest, Gap]:
    return {digest: gap for digest, gap in gaps.items() if digest not in done}


def _needed_by(gap: Gap) -> str:
    more = len(gap.images) - 3
    return ", ".join(gap.images[:3]) + (f" and {more} more images" if more > 0 else "")
