"""`distserver doctor`: what would stop a cold start."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click

import distserver
from distserver import app, naming
from distserver.cli.nodes import FILE, authority_option, endpoint_of, node_errors, root_option
from distserver.config import DEFAULT_FILE, Config, load
from distserver.nodes.doctor.facts import Facts
from distserver.nodes.doctor.findings import STOP, Finding
from distserver.nodes.doctor.images import read_needed
from distserver.nodes.doctor.table import examine
from distserver.nodes.endpoints import Answer, Endpoint, ask
from distserver.nodes.node import MAX_FILE_BYTES, Node

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7", "i686": "386"}


@click.command()
@root_option
@click.option(
    "--need",
    type=FILE,
    metavar="FILE",
    help="Images that shall start: one a line, platforms behind it; or a lock file.",
)
@click.option("--endpoint", "urls", multiple=True, metavar="URL", help="A server to look at, too.")
@authority_option
@click.option("--config", "file", metavar="FILE", help="TOML file with the server's configuration.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def doctor(
    root: Path, need: Path | None, urls: Sequence[str], ca: bytes, file: str | None, as_json: bool
) -> None:
    """Say what would stop a cold start without a network.

    Looks at this node: the server's unit, storage, certificate and mode, the clock and the disks,
    where the runtimes pull from, the pause image, and the images of a list. Changes nothing.

    Exit code 0: nothing stops it; 1: something does. "warn" is worth a look before you leave.

    \b
    distserver doctor --need images.lock
    distserver doctor --root /mnt/node --json
    """
    with node_errors():
        facts = _facts(root, file, ca, tuple(map(endpoint_of, urls)))
        if need:
            with need.open(errors="replace") as stream:
                lines = stream.read(MAX_FILE_BYTES).splitlines()
            facts = replace(facts, needed=tuple(read_needed(lines, facts)))
        found = list(_shown(examine(facts), as_json))
    stops = sum(finding.level == STOP for finding in found)
    if stops:
        raise click.ClickException(f"{stops} of {len(found)} findings would stop a cold start")


def _shown(findings: Iterable[Finding], as_json: bool) -> Iterator[Finding]:
    for finding in findings:
        click.echo(json.dumps(asdict(finding)) if as_json else finding)
        yield finding


def _facts(root: Path, file: str | None, ca: bytes, endpoints: tuple[Endpoint, ...]) -> Facts:
    config = _config(root, file)

    def ask_trusting(ones: Sequence[Endpoint], more: bytes) -> Mapping[Endpoint, Answer]:
        return ask(ones, ca + more)

    return Facts(
        node=Node(root),
        config=config,
        known_id=config.storage_id or app.remembered_id(config),
        ask=ask_trusting,
        platform=f"linux/{ARCHITECTURES.get(platform.machine(), platform.machine())}",
        now=time.time(),
        installed=Path(distserver.__file__).stat().st_mtime,
        own=frozenset((*config.names, naming.OWN_NAME)),
        endpoints=endpoints,
    )


def _config(root: Path, file: str | None) -> Config:
    """The configuration of the node's server; below another root its paths lie there, too."""
    if root == Path("/"):
        return load(file, os.environ).config
    own = root / DEFAULT_FILE.relative_to("/")
    config = load(file or str(own)).config if file or own.exists() else Config()

    def below(path: str) -> str:
        return f"{root}{path}" if path.startswith("/") else path

    return replace(
        config,
        storage=tuple(map(below, config.storage)),
        state=below(config.state),
        tls_cert=below(config.tls_cert),
        tls_key=below(config.tls_key),
    )
