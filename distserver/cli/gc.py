"""`distserver gc`: take away what nothing needs."""

from __future__ import annotations

import sys
from contextlib import nullcontext

import click

from backends import space_of
from distserver import app
from distserver.cli.common import configured, require_owner
from distserver.config import Config, Loaded
from distserver.oci.digests import Digest
from distserver.registry import Registry
from distserver.registry.freeze import frozen
from distserver.registry.gc import Report, collect
from distserver.registry.gc.census import Census
from distserver.registry.gc.collector import survey
from distserver.registry.gc.explain import explain
from distserver.registry.gc.runs import Runs
from distserver.registry.lease import storage_now
from distserver.space import agree_as_configured, collect_as_configured, is_synced, limits_of

SYNCED = """\
Syncthing copies this storage, and deletes on all nodes: nothing was done. With the consent of all:
distserver gc --cluster NODES"""


@click.group(invoke_without_command=True)
@click.option("--dry-run", is_flag=True, help="Tell what would go, and change nothing.")
@click.option("--explain", "wanted", metavar="DIGEST", help="Tell why this content is kept.")
@click.option("--freeze", is_flag=True, help="Refuse pushes on all servers meanwhile.")
@click.option("--recount", is_flag=True, help="Believe the storage that lost manifests are lost.")
@click.option(
    "--cluster",
    metavar="NODES",
    type=click.IntRange(2),
    help="In a folder that Syncthing copies: so many nodes have to agree.",
)
@configured()
def gc(
    loaded: Loaded,
    dry_run: bool,
    wanted: str | None,
    freeze: bool,
    recount: bool,
    cluster: int | None,
) -> None:
    """Take away content that no manifest names any more.

    Safe beside running servers, pushes and pulls; they do it by themselves each
    gc_interval_seconds. What is taken stays in the trash for gc_hold_seconds, and comes back by
    itself when somebody needs it. Whatever looks doubtful stops the run, and nothing is purged.

    \b
    distserver gc --dry-run
    distserver gc --explain sha256:...
    distserver gc
    """
    if click.get_current_context().invoked_subcommand:
        return None
    registry = app.open_registry(loaded.config)
    if wanted:
        return _explain(loaded.config, registry, Digest.parse(wanted))
    synced = is_synced(loaded.config)
    if dry_run or (synced and not cluster):
        _show(survey(registry, limits_of(loaded.config, registry.backend)), "would go to the trash")
        click.echo(SYNCED if synced else "nothing was done")
        return None
    if cluster and not synced:
        raise click.UsageError("--cluster is for folders that Syncthing copies")
    require_owner(loaded.config)
    if recount:
        Census().save(registry.backend)
    with frozen(registry.backend) if freeze else nullcontext():
        return _collect(loaded.config, registry, cluster or 0)


@gc.command()
@click.argument("run")
@configured()
def forget(loaded: Loaded, run: str) -> None:
    """Let the trash of a run go that died for good.

    Only where `distserver gc` names RUN: on storages that cannot move in one step. It must never
    wake up: its machine is gone, or its process.
    """
    runs = Runs(app.open_registry(loaded.config).backend)
    if run not in runs.unfinished():
        raise click.ClickException(f"{run} is no run that is not through")
    runs.end(run)
    click.echo(f"{run}: its trash goes with the next collections")


@click.command("gc-agree", hidden=True)
@configured()
def gc_agree(loaded: Loaded) -> None:
    """For servers whose folder Syncthing copies: look at what other nodes took."""
    count = agree_as_configured(loaded.config, app.open_registry(loaded.config))
    click.echo(f"agreed to {count} runs")


@click.command("gc-only", hidden=True)
@configured()
def gc_only(loaded: Loaded) -> None:
    """For servers that evict: collect at once, and only the digests of standard input."""
    registry = app.open_registry(loaded.config)
    only = frozenset(map(Digest.parse, sys.stdin.read().split()))
    collect(registry, limits_of(loaded.config, registry.backend), only)


def _explain(config: Config, registry: Registry, digest: Digest) -> None:
    limits, now = limits_of(config, registry.backend), storage_now(registry.backend)
    for line in explain(registry, digest, limits, now):
        click.echo(line)


def _collect(config: Config, registry: Registry, cluster: int) -> None:
    before = _free_bytes(registry)
    report = collect_as_configured(config, registry, cluster)
    _show(report, "taken to the trash")
    if report.restored:
        click.echo(f"{len(report.restored)} contents were needed after all, and are back")
    click.echo(f"{_sum(report.purged)} purged from the trash")
    if before is not None:
        click.echo(f"free before {before >> 20} MiB, now {(_free_bytes(registry) or 0) >> 20} MiB")
    for run in Runs(registry.backend).unfinished():
        click.echo(f"run {run} is not through; if it died: distserver gc forget {run}")


def _show(report: Report, what: str) -> None:
    click.echo(f"{report.manifests} manifests are live, looked at in {report.seconds:.1f} s")
    click.echo(f"{_sum(report.condemned)} {what}")
    click.echo(f"{report.young} contents wait for their manifest within the time of grace")
    click.echo(f"{report.held} contents are held in the trash")


def _sum(contents: dict[Digest, int]) -> str:
    return f"{len(contents)} contents, {sum(contents.values()) >> 20} MiB,"


def _free_bytes(registry: Registry) -> int | None:
    space = space_of(registry.backend)
    return space.free_bytes if space else None
