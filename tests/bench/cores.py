"""Which cores work for whom. Children inherit the cores of the moment when they are started."""

from __future__ import annotations

import os

ALL = tuple(sorted(os.sched_getaffinity(0)))
SERVERS, CLIENTS = ALL[:1], ALL[-1:]


def pin(cores: tuple[int, ...]) -> None:
    """Keep this process, its later threads and its later children on these cores."""
    os.sched_setaffinity(0, cores)
