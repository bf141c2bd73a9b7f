"""`distserver pin`, `unpin`: which images are never evicted; safe beside running servers."""

from __future__ import annotations

import click

from distserver import app, naming
from distserver.bundle.errors import BundleError
from distserver.bundle.images import Image
from distserver.cli.common import configured
from distserver.config import Config, Loaded
from distserver.evicting.pins import MAX_PATTERN_BYTES, Pins, is_pattern
from distserver.registry import Registry


@click.command()
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--list", "listed", is_flag=True, help="List all pins instead.")
@configured()
def pin(loaded: Loaded, patterns: tuple[str, ...], listed: bool) -> None:
    """Keep images for good, however full the cache is.

    PATTERN is an image's name, or a pattern for names as `distserver ls` shows them: NAME:TAG or
    NAME@DIGEST, where * stands for anything, also for "/". Signatures and members go with it.

    `preload` and `load` pin what they bring. Pushed images are never evicted, pinned or not.

    \b
    distserver pin nginx:1.27                       as docker says it
    distserver pin 'registry.k8s.io/*'              all of an upstream
    distserver pin 'docker.io/library/redis:7*'     these tags
    distserver pin --list
    """
    if listed == bool(patterns):
        raise click.UsageError("name a PATTERN, or say --list")
    pins = pins_of(app.open_registry(loaded.config))
    if listed:
        for pattern in pins.all():
            click.echo(pattern)
    for pattern in _checked(loaded.config, patterns):
        pins.add(pattern)
        click.echo(f"pinned {pattern}")


@click.command()
@click.argument("patterns", nargs=-1, required=True, metavar="PATTERN...")
@configured()
def unpin(loaded: Loaded, patterns: tuple[str, ...]) -> None:
    """Let images be evicted again.

    PATTERN is what `distserver pin --list` shows, or an image's name as docker says it. Exit code 1
    if one was not pinned: a pattern removes itself only, not the pins that it would match.

    \b
    distserver unpin 'registry.k8s.io/*'
    """
    pins = pins_of(app.open_registry(loaded.config))
    missing = []
    for pattern in _checked(loaded.config, patterns):
        if pins.remove(pattern):
            click.echo(f"unpinned {pattern}")
        else:
            missing.append(pattern)
    if missing:
        raise click.ClickException(f"not pinned: {', '.join(missing)}")


def pins_of(registry: Registry) -> Pins:
    """Return the pins of a registry's storage."""
    return Pins(registry.backend, registry.records)


def references(image: Image) -> list[str]:
    """Return what pins an image: its tag, which may move, and its digest, as far as it has them."""
    named = [f"{image.name}:{image.tag}"] if image.tag else []
    return [*named, f"{image.name}@{image.digest}"] if image.digest else named


def _checked(config: Config, patterns: tuple[str, ...]) -> list[str]:
    """Return patterns as they are kept: a plain name is that of an image here."""
    names, found = naming.naming(config), []
    for text in patterns:
        try:
            found += [text] if is_pattern(text) else references(names.image(text))
        except BundleError as exc:
            raise click.UsageError(str(exc)) from exc
        if len(text.encode()) > MAX_PATTERN_BYTES:
            raise click.UsageError(f"a pattern has {MAX_PATTERN_BYTES} bytes at most")
    return found
