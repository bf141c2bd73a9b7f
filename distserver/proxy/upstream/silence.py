"""Cuts the connections to upstreams when the operator switches to offline."""

from __future__ import annotations

import logging
import threading
import time

from distserver.proxy.upstream.attempt import WIRE
from distserver.proxy.upstream.mode import Mode

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5


def keep(mode: Mode) -> None:
    """Watch the mode in a thread: offline means that nothing leaves, not what was begun either.

    Call it after fork.
    """
    threading.Thread(target=_watch, args=(mode,), name="silence", daemon=True).start()


def _watch(mode: Mode) -> None:
    was_offline = False
    while True:
        is_offline = mode.offline
        if is_offline and not was_offline:
            log.info("offline: connections to upstreams are cut")
        if is_offline:
            WIRE.cut()  # each time: who was let through a moment before may have undone it
        was_offline = is_offline
        time.sleep(LOOK_SECONDS)
