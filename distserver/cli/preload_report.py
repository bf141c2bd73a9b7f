"""What `distserver preload` shows: a line an image, how far it is on a terminal, and a summary."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field

import click

from distserver.bundle.lock import ALL, Locked
from distserver.bundle.preloading.preload import Meter, Outcome, mib
from distserver.oci.digests import Digest


@dataclass
class Report:
    """What came of a run so far.

    as_json   one object a line, for scripts
    images    how many there are
    complete  what is whole, for a lock file
    missing   how many are not
    """

    as_json: bool
    images: int = 0
    complete: list[Locked] = field(default_factory=list)
    missing: int = 0
    _sizes: dict[Digest, int] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)
    _shown: str = ""

    def outcome(self, outcome: Outcome) -> None:
        """Show what came of an image."""
        plan = outcome.plan
        if outcome.problem or plan is None:
            self.lacks(str(outcome.image), outcome.problem)
            return
        self.complete.append(plan.locked)
        self._sizes |= plan.sizes
        platforms = plan.platforms or (ALL,)
        if self.as_json:
            row = {"image": str(outcome.image), "digest": str(plan.top.stored.digest)}
            numbers = {"platforms": platforms, "bytes": plan.size, "fetched": outcome.fetched}
            self._line(json.dumps({**row, **numbers, "note": plan.top.note}))
            return
        came = f"{mib(outcome.fetched)} of {mib(plan.size)} fetched" if outcome.fetched else "held"
        note = f"\n         {plan.top.note}" if plan.top.note else ""
        self._line(f"ok       {outcome.image}  {' '.join(platforms)}  {came}{note}")

    def lacks(self, image: str, why: str) -> None:
        """Show that an image is not complete."""
        self.missing += 1
        row = json.dumps({"image": image, "problem": why})
        self._line(row if self.as_json else f"MISSING  {image}: {why}")

    def tick(self, meter: Meter) -> None:
        """Show how far it is, where somebody looks."""
        if not sys.stderr.isatty():
            return
        done = len(self.complete) + self.missing
        if meter.to_come:
            came, share = meter.came(), 100 * meter.came() // meter.to_come
            text = (
                f"{share:3} %  {mib(came)} of {mib(meter.to_come)}, {done} of {self.images} images"
            )
        else:
            text = f"{meter.planned} of {self.images} images looked up"
        self._clear()
        click.echo(text, nl=False, err=True)
        self._shown = text

    def summary(self, meter: Meter) -> None:
        """Show what came of it all."""
        seconds, fetched = time.monotonic() - self._begun, meter.came()
        held = max(0, sum(self._sizes.values()) - fetched)
        numbers = {"images": self.images, "complete": len(self.complete), "missing": self.missing}
        if self.as_json:
            rest = {"fetched": fetched, "held": held, "seconds": round(seconds, 1)}
            self._line(json.dumps({**numbers, **rest}))
            return
        self._line(
            f"{len(self.complete)} of {self.images} images are complete: {mib(fetched)} fetched,"
            f" {mib(held)} held already, {seconds:.0f} s"
        )

    def _line(self, text: str) -> None:
        self._clear()
        click.echo(text)

    def _clear(self) -> None:
        if self._shown:
            click.echo("\r" + " " * len(self._shown) + "\r", nl=False, err=True)
            self._shown = ""
