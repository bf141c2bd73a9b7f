"""`distserver image`: our own image, for nodes that run us as a pod."""

from __future__ import annotations

from pathlib import Path

import click

from distserver import app, naming
from distserver.bundle.errors import BundleError
from distserver.bundle.preloading.platforms import machine_platform
from distserver.bundle.saving.own import OWN_IMAGE, file_name, find_own
from distserver.bundle.saving.packing import Packer
from distserver.bundle.saving.parts import PartWriter
from distserver.bundle.saving.save import Bundle
from distserver.cli.bundle import mib, write_bundle
from distserver.cli.common import configured
from distserver.config import Loaded


@click.group()
def image() -> None:
    """Our own image, for nodes that run us as a pod.

    A pod of distserver cannot pull its image from itself: nodes import it from a file when they
    boot, before any pod starts.
    """


@image.command()
@click.option(
    "-o",
    "output",
    default=".",
    metavar="FILE|DIRECTORY",
    help="Where to. In a directory, and without -o, it is distserver-VERSION-ARCH.tar.",
)
@click.option("--arch", default="", metavar="ARCH", help="amd64 or arm64; this machine's if not.")
@configured()
def save(loaded: Loaded, output: str, arch: str) -> None:
    """Save our own image to a file that every node imports.

    It comes from the storage, where `distserver load distserver-VERSION-ARCH.tar` or a push has put
    it. k3s and RKE2 import the files of their agent/images, distserver-import.service those of
    /var/lib/distserver/images; ctr, docker and podman read the file too. It appears when it is
    whole; a file that is there already is not replaced.

    \b
    distserver image save
    distserver image save --arch arm64 -o /media/usb/
    distserver image save -o /var/lib/rancher/k3s/agent/images/
    """
    arch = arch or machine_platform().partition("/")[2]
    path = Path(output)
    if output.endswith("/") or path.is_dir():
        path /= file_name(arch)
    registry, bundle = app.open_registry(loaded.config), Bundle()
    try:
        Packer(registry, naming.naming(loaded.config)).pack(bundle, find_own(registry, arch), ())
        with PartWriter(path) as writer:
            write_bundle(registry, bundle, writer)
    except BundleError as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(f"saved {OWN_IMAGE} for {arch}, {mib(bundle.size)}, in:\n  {path}")
