"""`distserver ls`, `rm`: safe beside running servers."""

from __future__ import annotations

import json

import click

from distserver import app
from distserver.cli.common import configured
from distserver.config import Loaded
from distserver.oci.digests import Digest
from distserver.oci.names import parse_name
from distserver.oci.references import Reference, parse_reference


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


def _split(image: str) -> tuple[str, Reference]:
    name, separator, reference = image.partition("@")
    if not separator:
        name, separator, reference = image.rpartition(":")
    if not separator or "/" in reference:
        raise click.UsageError(
            f"{image!r} names neither a tag (NAME:TAG) nor a digest (NAME@DIGEST)"
        )
    return parse_name(name), parse_reference(reference)
