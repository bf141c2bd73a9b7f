"""Lock files: what a site has, one image a line: `name:tag@digest platform… bytes`. Pure.

A lock file is also a list of images, so it can be fed back to `preload`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from distserver.bundle.images import Image

ALL = "all"
"""Stands for every platform: of an index all members, or an image that has just one."""
_LINE = re.compile(r"(?P<image>\S+@\S+)(?P<platforms>(?:\s+\S+)+?)\s+(?P<size>\d+)")


@dataclass(frozen=True, slots=True)
class Locked:
    """One image that a site has.

    image      with its digest
    platforms  os/architecture[/variant] that came with it; empty = all
    size       bytes of all that came, manifests too
    """

    image: Image
    platforms: tuple[str, ...]
    size: int

    def __str__(self) -> str:
        return f"{self.image} {' '.join(self.platforms or (ALL,))} {self.size}"


def split_line(line: str) -> tuple[str, tuple[str, ...], int] | None:
    """Return image name, platforms and bytes of a lock file's line; None if it is none."""
    if not (match := _LINE.fullmatch(line.strip())):
        return None
    platforms = tuple(match["platforms"].split())
    return match["image"], () if platforms == (ALL,) else platforms, int(match["size"])


def render(images: Iterable[Locked]) -> Iterator[str]:
    """Return the lines of a lock file, without line ends."""
    yield "# distserver lock file: name:tag@digest platforms bytes"
    yield from sorted(str(locked) for locked in images)
