"""`distserver init`, `check-storage`, `config`."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import click

from backends import unguarded
from backends.check import check_storage as run_checks
from distserver import app
from distserver.cli.common import configured, plain_errors
from distserver.config import Config, Loaded, UpstreamConfig, load
from distserver.storage import open_configured


@click.command()
@configured()
def init(loaded: Loaded) -> None:
    """Give an entirely empty storage its identity, once.

    For the installation: a storage that has one keeps it. From then on one without it is "not
    mounted", not "empty". Prints the id.

    \b
    distserver init --storage /srv/registry --state /var/lib/distserver/state
    """
    click.echo(app.initialise_storage(loaded.config))


@click.command("check-storage")
@click.argument("url")
@click.option("--config", "file", metavar="FILE", help="TOML file with the configuration.")
def check_storage(url: str, file: str | None) -> None:
    """Try on URL all that the registry relies on.

    Writes under a name of its own and cleans up: a storage can be checked in use, and before its
    `init`.
    Exit code 1 if one fails.

    \b
    distserver check-storage /mnt/nfs
    distserver check-storage s3://registry --config /etc/distserver/config.toml
    """
    with plain_errors():
        config = load(file, os.environ).config
        try:
            backend, other = (unguarded(open_configured(config, [url])) for _ in range(2))
        except ValueError as exc:
            raise click.UsageError(str(exc)) from exc
        failed = 0
        for result in run_checks(backend, other):
            failed += not result.ok
            click.echo(f"{'ok  ' if result.ok else 'FAIL'} {result.name}: {result.message}")
    if failed:
        raise click.ClickException(f"{failed} checks failed: do not use this storage")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.option("--markdown", is_flag=True, help="The page docs/configuration.md: all defaults.")
@configured()
def config(loaded: Loaded, as_json: bool, markdown: bool) -> None:
    """Show each setting, its value and where it came from."""
    if markdown:
        click.echo(reference(), nl=False)
        return
    values = dataclasses.asdict(loaded.config)
    if as_json:
        rows = {k: {"value": v, "source": loaded.sources[k]} for k, v in values.items()}
        click.echo(json.dumps(rows, indent=1))
        return
    texts = {field.name: field.metadata["text"] for field in dataclasses.fields(Config)}
    for name, value in values.items():
        click.echo(f"{name} = {json.dumps(value)}\n    {texts[name]}  [{loaded.sources[name]}]")


def reference() -> str:
    """Return docs/configuration.md, made from Config so that it cannot be out of date."""
    return _PAGE + _rows(Config) + _UPSTREAMS + _rows(UpstreamConfig)


def _rows(kind: type[Any]) -> str:
    return "".join(
        f"| `{field.name}` | `{_default(field)}` | {field.metadata['text']} |\n"
        for field in dataclasses.fields(kind)
    )


def _default(field: dataclasses.Field[Any]) -> str:
    return "{}" if field.default is dataclasses.MISSING else json.dumps(field.default)


_UPSTREAMS = """
## Upstreams

A table `[upstream."HOST"]` of the file adds an upstream or changes a built-in one. HOST is as image
names have it, with its port; `*.pkg.dev` and `*.gcr.io` set all members of these families.
Credentials need `allow`, so that nobody reads by them what nobody meant.

| key | default | meaning |
|---|---|---|
"""


_PAGE = """\
# Configuration

Made by `distserver config --markdown`; do not edit.

One TOML file (`--config`, else `DISTSERVER_CONFIG`, else `/etc/distserver/config.toml` where it is
there), then variables `DISTSERVER_<KEY>`, then flags; the later ones win. Lists are separated by
commas in variables. An unknown key or a bad value stops the start with one line that names it.
`distserver config` shows what is in force.

| key | default | meaning |
|---|---|---|
"""
