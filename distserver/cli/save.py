"""`distserver save`: safe beside running servers."""

from __future__ import annotations

import json
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from distserver import app, naming
from distserver.bundle.errors import BundleError
from distserver.bundle.loading.tar import BLOCK
from distserver.bundle.lock import render as render_lock
from distserver.bundle.saving.packing import Packer
from distserver.bundle.saving.parts import PartWriter
from distserver.bundle.saving.save import Bundle
from distserver.cli.bundle import mib, write_bundle
from distserver.cli.common import configured
from distserver.config import Loaded
from distserver.registry import Registry

_SIZE = re.compile(r"(\d+)([KMGT]?)(?:i?B)?", re.IGNORECASE)
MIN_SPLIT_BYTES = 1 << 20
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
@click.argument("images", nargs=-1, metavar="IMAGE...")
@click.option("-o", "output", required=True, metavar="FILE", type=Path, help="The bundle.")
@click.option("--all", "everything", is_flag=True, help="Every tag of every repository.")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="OS/ARCH",
    help="Of an index only this member; can be repeated. OS/ARCH/VARIANT too.",
)
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
        bundle = _pack(Packer(registry, naming.naming(loaded.config)), order)
        files = _write(registry, bundle, order)
    except BundleError as exc:
        raise click.ClickException(str(exc)) from exc
    _show_saved(bundle, files, as_json)


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
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_LOCK_BYTES:
        raise BundleError(f"{path} is no lock file")
    try:
        return path.read_text().splitlines()
    except UnicodeDecodeError as exc:
        raise BundleError(f"{path} is no lock file") from exc


def _write(registry: Registry, bundle: Bundle, order: Order) -> list[Path]:
    """Write the bundle and its lock file; return the files. Raises: BundleError, OSError."""
    lock = order.output.with_name(order.output.name + ".lock")
    with PartWriter(order.output, order.split) as writer, PartWriter(lock) as beside:
        beside.require_room(0)
        beside.write("".join(f"{line}\n" for line in render_lock(bundle.locked)).encode())
        return [*write_bundle(registry, bundle, writer), *beside.finish()]


def _show_saved(bundle: Bundle, files: list[Path], as_json: bool) -> None:
    count = sum(bundle.files.values())
    if as_json:
        images = [{"name": str(each.image), "bytes": each.size} for each in bundle.locked]
        row = {"images": images, "bytes": count, "left_out_bytes": bundle.left_out}
        click.echo(json.dumps({**row, "files": [str(file) for file in files]}))
        return
    for locked in bundle.locked:
        click.echo(f"saved {locked}")
    left = f", {mib(bundle.left_out)} left out" if bundle.left_out else ""
    click.echo(f"{len(bundle.locked)} images, {mib(count)}{left}, in:")
    for file in files:
        click.echo(f"  {file}")
