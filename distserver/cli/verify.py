"""`distserver verify`: safe beside running servers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

import click

from distserver import app
from distserver.cli.common import configured, require_owner
from distserver.config import Loaded
from distserver.oci.digests import Digest
from distserver.registry import Registry
from distserver.registry import verify as verification
from distserver.registry.scrub import Mender


@click.command()
@click.option("--repair", is_flag=True, help="Mend what is found, from replicas and upstreams.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@configured()
def verify(loaded: Loaded, repair: bool, as_json: bool) -> None:
    """Hash every stored byte; check that each image is whole.

    One line an image; damage is named by digest. Exit code 1 if anything is damaged or missing, and
    with --repair if anything of that could not be mended.
    A pulled image whose parts have not all come is "partial", one that lacks what was purged is
    "purged": neither is damage.
    Pushing a damaged image again mends it. Safe beside running servers, which do the same in the
    background (scrub_days); reads everything, so it takes as long as the disk takes to read it all.

    \b
    distserver verify --storage /mnt/copy      is this copy whole before it ships?
    distserver verify --repair                 and bring what is damaged or missing
    """
    if repair:
        require_owner(loaded.config)
        registry, mender = app.open_mender(loaded.config)
    else:
        registry, mender = app.open_registry(loaded.config), None
    damage = _Damage(registry)
    damage.look()
    if mender:
        damage.mend(mender)
    failed = len(damage.names)
    for image in verification.images(registry, damage.digests):
        failed += bool(image.problems)
        click.echo(_image_line(image, as_json))
    if failed:
        raise click.ClickException(f"{failed} problems found")


@dataclass
class _Damage:
    """What is damaged.

    names    key -> digest, where it has one
    digests  digest -> what is wrong
    chunks   entries whose chunk hashes are wrong or missing
    mended   what was mended; nothing is tried again after that
    """

    registry: Registry
    names: dict[str, Digest | None] = field(default_factory=dict)
    digests: dict[Digest, str] = field(default_factory=dict)
    chunks: list[verification.Checked] = field(default_factory=list)
    mended: set[Digest] = field(default_factory=set)

    def look(self) -> None:
        """Read everything, and tell what is damaged."""
        for checked in _with_progress(self.registry):
            if checked.purged:
                click.echo(f"purged  {checked.key}: came back, and will be erased again", err=True)
            if checked.chunks:
                self.chunks.append(checked)
            if checked.problem:
                click.echo(f"damaged {checked.key}: {checked.problem}", err=True)
                self.names[checked.key] = checked.digest
                if checked.digest:
                    self.digests[checked.digest] = checked.problem

    def mend(self, mender: Mender) -> None:
        """Mend what can be mended, and tell from where."""
        for checked in self.chunks:
            if checked.digest:
                self.registry.content.put_chunks(checked.digest, checked.chunks)
                self._forget(checked.digest, "its chunk hashes, from its bytes")
        for digest in self.digests.keys() - {need.digest for need in mender.needs(self.digests)}:
            self._forget(digest, "")
        before = -1
        while len(self.mended) > before:  # what a lost manifest names shows once that is here
            before = len(self.mended)
            self._mend_once(mender)

    def _mend_once(self, mender: Mender) -> None:
        """Try all that is damaged or missing now."""
        images = verification.images(self.registry, self.digests)
        problems = [problem for image in images for problem in image.problems]
        missing = {problem.digest for problem in problems if problem.digest}
        for need in mender.needs((missing | self.digests.keys()) - self.mended):
            if where := mender.mend(need):
                self._forget(need.digest, where)
                self.mended.add(need.digest)

    def _forget(self, digest: Digest, how: str) -> None:
        """Tell how it was mended; "" = nobody needs it, so it is nobody's loss."""
        click.echo(f"mended {digest}: {how}" if how else f"damaged, but not needed: {digest}")
        self.digests.pop(digest, None)
        self.names = {key: other for key, other in self.names.items() if other != digest}


def _with_progress(registry: Registry) -> Iterator[verification.Checked]:
    done = 0
    for checked in verification.contents(registry):
        done += checked.size
        if sys.stderr.isatty():
            click.echo(f"\r{done >> 20} MiB verified", nl=False, err=True)
        yield checked


def _image_line(image: verification.Image, as_json: bool) -> str:
    found = {"problems": image.problems, "awaited": image.awaited, "purged": image.purged}
    texts = {kind: list(map(str, problems)) for kind, problems in found.items()}
    if as_json:
        return json.dumps({"image": image.name, "digest": str(image.digest), **texts})
    state = "purged" if image.purged else "partial" if image.awaited else "ok"
    state = "DAMAGED" if image.problems else state
    return "\n         ".join([f"{state:8} {image.name}", *chain(*texts.values())])
