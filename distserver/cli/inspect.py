"""`distserver ls`, `rm`, `verify`: safe beside running servers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import click

from distserver import app
from distserver.cli.common import configured
from distserver.config import Loaded
from distserver.oci.digests import Digest
from distserver.oci.names import parse_name
from distserver.oci.references import Reference, parse_reference
from distserver.registry import Registry
from distserver.registry import verify as verification


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@configured()
def ls(loaded: Loaded, name: str | None, as_json: bool) -> None:
    """List all images, or those of the repository NAME.

    \b
    distserver ls                       every image and its digest
    distserver ls site/app --json       for scripts: {"name", "tag", "digest"} a line
    """
    registry = app.open_registry(loaded.config)
    names = [parse_name(name)] if name else registry.catalog.names()
    for repository in names:
        for tag, digest in sorted(registry.tags.all(repository).items()):
            row = {"name": repository, "tag": tag, "digest": str(digest)}
            click.echo(json.dumps(row) if as_json else f"{repository}:{tag}  {digest}")


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="NAME:TAG|NAME@DIGEST...")
@configured()
def rm(loaded: Loaded, images: tuple[str, ...]) -> None:
    """Delete tags (NAME:TAG) or images (NAME@DIGEST).

    \b
    distserver rm site/app:1.0          this tag; the image stays under its digest
    distserver rm site/app@sha256:...   the image, with every tag that names it

    Space comes back by garbage collection, not at once.
    """
    parsed = [_split(image) for image in images]
    registry = app.open_registry(loaded.config)
    for name, reference in parsed:
        if isinstance(reference, Digest):
            registry.manifests.delete(name, reference)
        else:
            registry.tags.delete(name, reference)
        click.echo(f"deleted {name} {reference}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@configured()
def verify(loaded: Loaded, as_json: bool) -> None:
    """Hash every stored byte; check that each image is whole.

    One line an image; damage is named by digest. Exit code 1 if anything is damaged or missing.
    A pulled image whose parts have not all come is "partial", which is no damage.
    Pushing a damaged image again mends it. Safe beside running servers; reads everything, so it
    takes as long as the disk takes to read it all.

    \b
    distserver verify --storage /mnt/copy      is this copy whole before it ships?
    """
    registry = app.open_registry(loaded.config)
    damaged: dict[Digest, str] = {}
    failed = 0
    for checked in _with_progress(registry):
        if checked.problem:
            failed += 1
            click.echo(f"damaged {checked.key}: {checked.problem}", err=True)
            if checked.digest:
                damaged[checked.digest] = checked.problem
    for image in verification.images(registry, damaged):
        failed += bool(image.problems)
        click.echo(_image_line(image, as_json))
    if failed:
        raise click.ClickException(f"{failed} problems found")


def _with_progress(registry: Registry) -> Iterator[verification.Checked]:
    done = 0
    for checked in verification.contents(registry):
        done += checked.size
        if sys.stderr.isatty():
            click.echo(f"\r{done >> 20} MiB verified", nl=False, err=True)
        yield checked


def _image_line(image: verification.Image, as_json: bool) -> str:
    if as_json:
        problems, awaited = list(map(str, image.problems)), list(map(str, image.awaited))
        row = {"image": image.name, "digest": str(image.digest)}
        return json.dumps({**row, "problems": problems, "awaited": awaited})
    state = "DAMAGED" if image.problems else "partial" if image.awaited else "ok"
    lines = [f"{state:8} {image.name}", *map(str, (*image.problems, *image.awaited))]
    return "\n         ".join(lines)


def _split(image: str) -> tuple[str, Reference]:
    name, separator, reference = image.partition("@")
    if not separator:
        name, separator, reference = image.rpartition(":")
    if not separator or "/" in reference:
        raise click.UsageError(
            f"{image!r} names neither a tag (NAME:TAG) nor a digest (NAME@DIGEST)"
        )
    return parse_name(name), parse_reference(reference)
