"""`distserver node-config`: how a node pulls through us."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from distserver.cli.common import plain_errors
from distserver.nodes.apply import NodeFiles
from distserver.nodes.certificates import validity_of_pem
from distserver.nodes.endpoints import Endpoint, ask, is_host, parse_endpoint
from distserver.nodes.node import MAX_FILE_BYTES, Node, NodeError
from distserver.nodes.plan import Runtime, Wish
from distserver.nodes.runtimes import RUNTIMES

Command = Callable[..., Any]
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_ROOT = click.Path(exists=True, file_okay=False, path_type=Path)
root_option = click.option(
    "--root",
    type=_ROOT,
    default="/",
    metavar="DIR",
    help="The node's files lie below DIR: a mounted disk or an image.",
)
authority_option = click.option(
    "--ca",
    type=FILE,
    callback=lambda _context, _parameter, file: _authority(file),
    metavar="FILE",
    help="PEM file of the authority that signed the servers' certificates.",
)
_runtime = click.option(
    "--runtime", type=click.Choice(list(RUNTIMES)), required=True, help="What pulls on the node."
)


@click.group("node-config")
def node_config() -> None:
    """Make a node pull through servers of ours; show it; undo it.

    \b
    distserver node-config write --runtime k3s --endpoint http://10.0.0.5:5000
    distserver node-config show
    distserver node-config undo --runtime k3s
    """


def _wished(command: Command) -> Command:
    """Add the options of a wish to a command and hand it the Wish as first argument."""

    @click.option(
        "--endpoint",
        "urls",
        multiple=True,
        required=True,
        metavar="URL",
        help="A server: http://HOST:PORT. Given again: the next one to ask.",
    )
    @click.option("--only", is_flag=True, help="Ask nobody else: what they lack is not pulled.")
    @authority_option
    @click.option(
        "--registry",
        "registries",
        multiple=True,
        metavar="HOST",
        help="A registry that gets an entry of its own.",
    )
    @functools.wraps(command)
    def run(
        urls: Sequence[str], only: bool, ca: bytes, registries: Sequence[str], **rest: Any
    ) -> Any:
        wish = Wish(_endpoints(urls), only, ca, _hosts(registries))
        if ca and not wish.secured:
            raise click.UsageError("--ca is for endpoints that begin with https://")
        return command(wish, **rest)

    return run


@node_config.command()
@_runtime
@_wished
@root_option
@click.option(
    "--force",
    is_flag=True,
    help="Though no endpoint answers; over what is yours or was changed by hand.",
)
def write(wish: Wish, runtime: str, root: Path, force: bool) -> None:
    """Make a runtime pull through the endpoints, in their order.

    Nothing is written before an endpoint answers, within seconds. A file that was there is kept
    beside the new one as FILE.distserver-backup. Writing twice is as good as once.

    For containerd, k3s and rke2 one entry stands for all registries; cri-o and podman need one for
    each, docker has Docker Hub only. Without --only the registry itself is asked last.

    \b
    distserver node-config write --runtime containerd \\
        --endpoint http://10.0.0.5:5000 --endpoint http://10.0.0.6:5000
    """
    node, chosen = Node(root), RUNTIMES[runtime]
    with node_errors():
        plan = chosen.plan(wish, node)
        _require_answer(wish, force)
        lines = NodeFiles(node, force).write(chosen.family, plan.files)
    _echo(lines)
    for note in plan.notes:
        click.echo(f"\n{note}")
    if plan.restart and not all(line.startswith("unchanged") for line in lines):
        _tell_restart(chosen)


@node_config.command()
@click.option("--runtime", type=click.Choice(list(RUNTIMES)), help="Only this one.")
@root_option
def show(runtime: str | None, root: Path) -> None:
    """Show where the runtimes pull from, and who answers.

    \b
    distserver node-config show
    distserver node-config show --runtime k3s --root /mnt/node
    """
    node = Node(root)
    with node_errors():
        for name, chosen in RUNTIMES.items():
            there = chosen.installed(node) or chosen.files(node)
            if name == runtime or (runtime is None and there):
                click.echo(f"{name}:")
                _echo(f"    {line}" for line in _shown(node, chosen))


@node_config.command()
@_runtime
@root_option
@click.option("--force", is_flag=True, help="Also what was changed by hand since.")
def undo(runtime: str, root: Path, force: bool) -> None:
    """Put back the files that were there before `write`.

    What it made where none was is removed. Refuses if one was changed by hand since, and undoes
    nothing then. podman and cri-o read the same files: what is undone for one is undone for both.

    \b
    distserver node-config undo --runtime containerd
    """
    chosen = RUNTIMES[runtime]
    with node_errors():
        lines = NodeFiles(Node(root), force).undo(chosen.family)
    _echo(lines or [f"nothing was written for {runtime}"])
    if lines:
        _tell_restart(chosen)


@contextmanager
def node_errors() -> Iterator[None]:
    """As plain_errors, of a node's files too."""
    try:
        with plain_errors():
            yield
    except NodeError as exc:
        raise click.ClickException(str(exc)) from exc


def endpoint_of(url: str) -> Endpoint:
    """Read a URL that was given as an argument."""
    try:
        return parse_endpoint(url)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc


def _endpoints(urls: Sequence[str]) -> tuple[Endpoint, ...]:
    return tuple(dict.fromkeys(map(endpoint_of, urls)))


def _hosts(names: Sequence[str]) -> tuple[str, ...]:
    if wrong := [name for name in names if not is_host(name.lower())]:
        raise click.UsageError(f"--registry {wrong[0]!r} is not HOST[:PORT]")
    return tuple(dict.fromkeys(name.lower() for name in names))


def _authority(file: Path | None) -> bytes:
    if file is None:
        return b""
    with file.open("rb") as stream:
        pem = stream.read(MAX_FILE_BYTES)
    try:
        validity_of_pem(pem)
    except ValueError as exc:
        raise click.UsageError(f"--ca {file}: {exc}") from exc
    return pem


def _require_answer(wish: Wish, force: bool) -> None:
    """Warn of endpoints that do not answer; refuse if none does."""
    answers = ask(wish.endpoints, wish.ca)
    for endpoint, answer in answers.items():
        if answer.problem:
            click.echo(f"{endpoint} does not answer: {answer.problem}", err=True)
    if all(answer.problem for answer in answers.values()) and not force:
        raise click.ClickException(
            "no endpoint answers, so nothing was written; --force writes all the same"
        )


def _shown(node: Node, runtime: Runtime) -> Iterator[str]:
    """Say what files there are, and which endpoints answer."""
    files = NodeFiles(node)
    for path in runtime.files(node):
        yield f"{path}: {files.state(path)}"
    endpoints = runtime.endpoints(node)
    for endpoint, answer in ask(endpoints, files.authority(runtime.family)).items():
        said = answer.problem or f"answers{answer.trouble and f', but: {answer.trouble}'}"
        yield f"{endpoint}: {said}"
    if not endpoints:
        yield "pulls from the registries themselves"


def _tell_restart(runtime: Runtime) -> None:
    if runtime.restart:
        click.echo(f"\nHolds after: {runtime.restart}")


def _echo(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
