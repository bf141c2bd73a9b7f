"""A blob that somebody wants from an upstream."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from distserver.oci.digests import Digest
from distserver.proxy.fetching.fetch import Origin
from distserver.proxy.upstream.limits import Limits


@dataclass(frozen=True, slots=True)
class Wanted:
    """A blob to bring.

    directory   where its partial lies
    origin      where it comes from
    limits      of its upstream
    background  nobody waits for it
    """

    digest: Digest
    directory: Path
    origin: Origin = field(compare=False)
    limits: Limits = field(compare=False)
    background: bool = False
