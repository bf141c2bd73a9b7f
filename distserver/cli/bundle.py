"""`distserver load`: safe beside running servers; and what `save` shares with it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from distserver import app, naming
from distserver.bundle.errors import BundleError
from distserver.bundle.loading.bringing import Bringer, Tally
from distserver.bundle.loading.load import Loader, Result, in_words, sources
from distserver.bundle.saving.parts import PartWriter
from distserver.bundle.saving.save import Bundle, render
from distserver.cli.common import configured
from distserver.cli.pins import pins_of, references
from distserver.config import Loaded
from distserver.registry import Registry

SHOW_SECONDS = 0.5


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
    loader = Loader(registry, naming.naming(loaded.config, to), Bringer(registry, tally))
    results, pins = [], pins_of(registry)
    for result in _results(loader, found):
        results.append(result)
        for reference in references(result.image) if result.image else ():
            pins.add(reference)
        progress.clear()
        _show_result(result, as_json)
    failed = sum(bool(result.error) for result in results)
    if as_json:
        click.echo(json.dumps(_summary(results, tally)))
    else:
        click.echo(
            f"{len(results) - failed} loaded, {failed} failed; {mib(tally.written)} written, "
            f"{mib(tally.held)} were here"
        )
    if failed:
        raise click.exceptions.Exit(1)


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
            click.echo(f"\r{mib(done)} of {mib(self._tally.total)} ", nl=False, err=True)

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


def write_bundle(registry: Registry, bundle: Bundle, writer: PartWriter) -> list[Path]:
    """Write a bundle whole, showing how far it is; return its files.

    Raises: BundleError, StorageError, OSError.
    """
    tally = Tally(total=sum(bundle.files.values()))
    progress = Progress(tally)

    def tick(count: int) -> None:
        tally.written += count
        progress.show()

    writer.require_room(bundle.size)
    for data in render(bundle, registry, tick):
        writer.write(data)
    progress.clear()
    return writer.finish()


def mib(count: int) -> str:
    """Return bytes as an operator reads them, rounded up."""
    return f"{-(-count >> 20)} MiB"
