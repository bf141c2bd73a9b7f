"""`distserver upstreams`, `mode`: work beside a server, by small files in its state directory."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from distserver.cli.common import configured
from distserver.config import Loaded
from distserver.proxy.status import Standing, Status, ago
from distserver.proxy.upstream.mode import MODES

BACK = "configured"


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also those that were never asked.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@configured()
def upstreams(loaded: Loaded, everything: bool, as_json: bool) -> None:
    """Show whether each upstream answers, and its last error.

    With its last contact, of those that are configured or were asked at least once; of *.pkg.dev
    and *.gcr.io those that are configured or answered at least once. Works beside a running
    server: it reads what that left in the state directory.

    \b
    distserver upstreams
    distserver upstreams --all --json
    """
    status = Status(loaded.config)
    if not as_json:
        click.echo(f"mode: {_mode(status)}")
    for standing in status.standings(everything):
        click.echo(json.dumps(asdict(standing)) if as_json else _line(standing))


@click.command()
@click.argument("mode", required=False, type=click.Choice([*MODES, BACK]))
@configured()
def mode(loaded: Loaded, mode: str | None) -> None:
    """Show the mode, or switch to MODE.

    Every server of this state directory follows within a second.

    \b
    online         a held tag is asked for again when its time is over
    prefer-cache   a held tag is served at once, and asked for in the background
    offline        no socket to any upstream is opened
    configured     back to what the configuration says

    A switch outlives restarts, until the next one.

    \b
    distserver mode offline
    distserver mode configured
    """
    status = Status(loaded.config)
    if mode:
        status.mode.switch(None if mode == BACK else mode)
    click.echo(_mode(status))


def _mode(status: Status) -> str:
    switched, says = status.mode.switched(), status.mode.configured
    if switched is None:
        return f"{says} (as configured)"
    return f"{switched} (switched by `distserver mode`; the configuration says {says})"


def _line(standing: Standing) -> str:
    lines = [f"{standing.upstream}  {standing.url}", f"    {standing.words}"]
    if standing.up is not None:
        lines.append(f"    last contact: {ago(standing.contact_age)}")
    if standing.error:
        lines.append(f"    last error: {standing.error} ({ago(standing.error_age)})")
    return "\n".join(lines)
