"""`distserver load`, `save`: safe beside running servers."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from distserver import app
from distserver.bundle.bringing import Bringer, Tally
from distserver.bundle.errors import BundleError
from distserver.bundle.loading import Loader, Result, in_words, sources
from distserver.bundle.lock import render as render_lock
from distserver.bundle.naming import Naming
from distserver.bundle.parts import PartWriter
from distserver.bundle.saving import Bundle, Packer, render
from distserver.bundle.tar import BLOCK
from distserver.cli.common import configured
from distserver.config import Config, Loaded
from distserver.proxy.upstream.connect import upstreams_of
from distserver.registry import Registry

_SIZE = re.compile(r"(\d+)([KMGT]?)(?:i?B)?", re.IGNORECASE)
MIN_SPLIT_BYTES = 1 << 20
SHOW_SECONDS = 0.5
MAX_LOCK_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Order:
    """What `save` shall write.

    images      names; empty with everything
    everything  all tags of all repositories
    platforms   os/architecture[/variant]; empty = all that are held
    output      the bundle
    split       most bytes of a part; 0 = one file
    since       lock file of what the other side has
    """

    images: tuple[str, ...]
    everything: bool
    platforms: tuple[str, ...]
    output: Path
    split: int
    since: Path | None


def _part_bytes(context: click.Context, option: click.Parameter, value: str) -> int:
    """Read 700M or 4G; parts have fewer bytes than that, since FAT takes no 4 GiB."""
    match = _SIZE.fullmatch(value)
    size = int(match[1]) << 10 * " KMGT".index(match[2].upper() or " ") if match else 0
    if value and size <= MIN_SPLIT_BYTES:
        raise click.BadParameter(f"{value!r} is no size above 1M, such as 700M or 4G")
    return (size - 1) // BLOCK * BLOCK if value else 0


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=Path)
@click.option("--as", "to", default="", metavar="NAME|PREFIX/", help="Where images go instead.")
@click.option("--json", "as_json", is_flag=True, help="A summary as one JSON object, at the end.")
@configured()
def load(loaded: Loaded, paths: tuple[Path, ...], to: str, as_json: bool) -> None:
    """Load images from archives into the storage.

    PATH is an archive of `distserver save`, `docker save`, `podman save`, `ctr images export` or
    `skopeo copy` (docker-archive or OCI, also packed with gzip or zstd; of FILE.001, FILE.002 …
    name the first), a directory with an OCI layout, the directory of a registry:2
    (docker-registry, distribution), or a directory with many archives.

    Images keep their names; one without a host is Docker Hub's. Each digest is checked before an
    image can be seen. What is held already is not written again, so a load that was interrupted
    goes on where it stopped. Of an archive all images are loaded or none; the other archives go on.
    Exit code 1 if anything was not loaded. An entirely empty storage is initialised.

    \b
    distserver load bundle.tar
    distserver load app.tar --as site/app:1.0      one image, under this name
    distserver load /media/usb/archives --as old/  all, as old/...
    distserver load /var/lib/docker-registry       move in
    """
    if "@" in to:
        raise click.UsageError("--as takes NAME, NAME:TAG or PREFIX/, no digest")
    found = list(_sources(paths))
    if to and not to.endswith("/") and len(found) > 1:
        raise click.UsageError(f"--as NAME is for one archive, here are {len(found)}: --as PREFIX/")
    app.initialise_storage(loaded.config)
    registry, tally = app.open_registry(loaded.config), Tally()
    progress = Progress(tally)
    tally.tick = progress.show
    loader = Loader(registry, _naming(loaded.config, to), Bringer(registry, tally))
    results = []
    for result in _results(loader, found):
        results.append(result)
        progress.clear()
        _show_result(result, as_json)
    failed = sum(bool(result.error) for result in results)
    if as_json:
        click.echo(json.dumps(_summary(results, tally)))
    else:
        click.echo(
            f"{len(results) - failed} loaded, {failed} failed; {_mib(tally.written)} written, "
            f"{_mib(tally.held)} were here"
        )
    if failed:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("images", nargs=-1, metavar="IMAGE...")
@click.option("-o", "output", required=True, metavar="FILE", type=Path, help="The bundle.")
@click.option("--all", "everything", is_flag=True, help="Every tag of every repository.")
@click.option("--platform", "platforms", multiple=True, metavar="OS/ARCH[/VARIANT]")
@click.option(
    "--split", default="", callback=_part_bytes, metavar="SIZE", help="Parts smaller than SIZE."
)
@click.option("--since", metavar="LOCK", type=Path, help="Leave out what this lock file lists.")
@click.option("--json", "as_json", is_flag=True, help="A summary as one JSON object, at the end.")
@configured()
def save(loaded: Loaded, as_json: bool, **given: Any) -> None:
    """Save images to one file, to be carried: a bundle.

    IMAGE is a name as `distserver ls` shows it, or as docker reads it. Signatures and other
    referrers go along. The file is an OCI layout in a tar, which skopeo and `ctr images import`
    read too; FILE.lock beside it lists what it has. Every byte is proved while it is read.

    --since takes the lock file of an older bundle, and leaves out what that brought: load this
    one where that one was loaded. --split writes FILE.001, FILE.002 … for media that take no
    large files: 4G for FAT.

    \b
    distserver save nginx:1.27 site/app:1.0 -o bundle.tar
    distserver save --all -o /media/usb/all.tar --split 4G
    distserver save --all -o new.tar --since old.tar.lock
    """
    order = Order(**given)
    if bool(order.images) == order.everything:
        raise click.UsageError("name images, or --all")
    if wrong := [text for text in order.platforms if text.count("/") not in (1, 2)]:
        raise click.UsageError(f"--platform: {wrong[0]!r} is not os/architecture[/variant]")
    registry = app.open_registry(loaded.config)
    try:
        bundle = _pack(Packer(registry, _naming(loaded.config)), order)
        files = _write(registry, bundle, order)
    except BundleError as exc:
        raise click.ClickException(str(exc)) from exc
    _show_saved(bundle, files, as_json)


class Progress:
    """How far it is, on a terminal; nowhere else."""

    def __init__(self, tally: Tally) -> None:
        self._tally, self._shown = tally, 0.0
        self._terminal = sys.stderr.isatty()

    def show(self) -> None:
        """Show it, twice a second at most."""
        now = time.monotonic()
        if self._terminal and now > self._shown + SHOW_SECONDS:
            self._shown = now
            done = self._tally.written + self._tally.held
            click.echo(f"\r{_mib(done)} of {_mib(self._tally.total)} ", nl=False, err=True)

    def clear(self) -> None:
        """Make room for a line."""
        if self._shown:
            self._shown = 0.0
            click.echo(f"\r{'':40}\r", nl=False, err=True)


def _sources(paths: tuple[Path, ...]) -> Iterator[Path | Result]:
    """Yield the archives that paths stand for, and what became of those that stand for none."""
    for path in paths:
        try:
            yield from sources(path)
        except (BundleError, OSError) as exc:
            yield Result(path, error=in_words(exc))


def _results(loader: Loader, found: list[Path | Result]) -> Iterator[Result]:
    for source in found:
        if isinstance(source, Result):
            yield source
        else:
            yield from loader.load(source)


def _show_result(result: Result, as_json: bool) -> None:
    if result.error:
        what = f"{result.source}: {result.name}" if result.name else result.source
        click.echo(f"failed {what}: {result.error}", err=True)
    elif not as_json:
        click.echo(f"loaded {result.name}  {result.digest}")


def _summary(results: list[Result], tally: Tally) -> dict[str, object]:
    return {
        "images": [
            {"name": each.name, "digest": str(each.digest)} for each in results if not each.error
        ],
        "failed": [
            {"source": str(each.source), "name": each.name, "error": each.error}
            for each in results
            if each.error
        ],
        "written_bytes": tally.written,
        "held_bytes": tally.held,
    }


def _pack(packer: Packer, order: Order) -> Bundle:
    """Collect what shall be written. Raises: BundleError, StorageError."""
    bundle = Bundle()
    named = [packer.find(text) for text in order.images]
    for image in packer.everything() if order.everything else dict.fromkeys(named):
        packer.pack(bundle, image, order.platforms)
    if order.since:
        bundle.leave_out(packer.implied(_read_lock(order.since)))
    bundle.require_readable()
    return bundle


def _read_lock(path: Path) -> list[str]:
    if path.stat().st_size > MAX_LOCK_BYTES:
        raise BundleError(f"{path} is no lock file: it is too large")
    try:
        return path.read_text().splitlines()
    except UnicodeDecodeError as exc:
        raise BundleError(f"{path} is no lock file") from exc


def _write(registry: Registry, bundle: Bundle, order: Order) -> list[Path]:
    """Write the bundle and its lock file; return the files. Raises: BundleError, OSError."""
    tally = Tally(total=sum(bundle.files.values()))
    progress = Progress(tally)

    def tick(count: int) -> None:
        tally.written += count
        progress.show()

    lock = order.output.with_name(order.output.name + ".lock")
    with PartWriter(order.output, order.split) as writer, PartWriter(lock) as beside:
        beside.require_room(0)
        writer.require_room(bundle.size)
        beside.write("".join(f"{line}\n" for line in render_lock(bundle.locked)).encode())
        for data in render(bundle, registry, tick):
            writer.write(data)
        progress.clear()
        return [*writer.finish(), *beside.finish()]


def _show_saved(bundle: Bundle, files: list[Path], as_json: bool) -> None:
    count = sum(bundle.files.values())
    if as_json:
        images = [{"name": str(each.image), "bytes": each.size} for each in bundle.locked]
        row = {"images": images, "bytes": count, "left_out_bytes": bundle.left_out}
        click.echo(json.dumps({**row, "files": [str(file) for file in files]}))
        return
    for locked in bundle.locked:
        click.echo(f"saved {locked}")
    left = f", {_mib(bundle.left_out)} left out" if bundle.left_out else ""
    click.echo(f"{len(bundle.locked)} images, {_mib(count)}{left}, in:")
    for file in files:
        click.echo(f"  {file}")


def _naming(config: Config, to: str = "") -> Naming:
    """Return how images are named here and outside."""
    own = frozenset(name.lower() for name in (*config.names, app.OWN_NAME))
    return Naming(upstreams_of(config), own, app.OWN_NAME, to)


def _mib(count: int) -> str:
    return f"{-(-count >> 20)} MiB"
