"""Work that nobody waits for comes last, as far as the system lets us say so."""

from __future__ import annotations

import logging
import os

log = logging.getLogger(__name__)

LOWEST = 19
"""For the processor, and by that for the disk: the kernel derives one from it."""


def come_last(task: int) -> None:
    """Give a process or thread the lowest priority; a system that refuses is logged, no more."""
    try:
        os.setpriority(os.PRIO_PROCESS, task, LOWEST)
    except OSError as exc:
        log.info("work in the background has the priority of all: %s", exc)
