"""What the nodes of one storage tell each other of their pulls, so that any of them may evict."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from backends import Backend, put, read_all
from backends.errors import Corrupt, Full, NotFound
from distserver.evicting.pulls import MAX_BYTES, Key, decode, encode, newest
from distserver.proxy.replace import replace
from distserver.registry import layout

log = logging.getLogger(__name__)

PUBLISH_SECONDS = 600
FORGET_SECONDS = 90 * 86400


class Published:
    """The hints of all nodes. A node's next one has a name of its own, then the one before goes.

    state  directory in which this node keeps what it is called there
    """

    def __init__(self, backend: Backend, state: Path) -> None:
        self._backend, self._state = backend, state
        self._known: dict[str, dict[Key, float]] = {}

    def exchange(self, own: Mapping[Key, float]) -> dict[Key, float]:
        """Tell our pulls if it is due; return the last pulls of all nodes.

        Raises: Unavailable; OSError (state).
        """
        keys = list(self._backend.keys(layout.PULLS))
        self._known = {key: self._known.get(key) or self._read(key) for key in keys}
        self._publish(own, keys)
        told = (item for pulls in (*self._known.values(), own) for item in pulls.items())
        return newest(told)

    def _publish(self, own: Mapping[Key, float], keys: list[str]) -> None:
        now, node = int(time.time()), node_id(self._state)
        ours = [key for key in keys if key.startswith(f"{layout.PULLS}{node}/")]
        if any(0 <= now - _time(key) < PUBLISH_SECONDS for key in ours):
            return
        if own:
            try:
                put(self._backend, layout.pulls(node, now), encode(own))
            except Full as exc:
                log.info("the other nodes are not told of the pulls of this one: %s", exc)
                return
        old = [key for key in keys if now - _time(key) > FORGET_SECONDS]
        for key in {*(ours if own else ()), *old}:
            self._backend.delete(key)

    def _read(self, key: str) -> dict[Key, float]:
        try:
            return newest(decode(read_all(self._backend, key, MAX_BYTES)))
        except (NotFound, Corrupt) as exc:
            log.info("the pulls of another node are not known: %s", exc)
            return {}


def node_id(state: Path) -> str:
    """Return what this node is called; it gets a name if it has none. Raises: OSError."""
    path = state / "node_id"
    try:
        if known := path.read_text().strip():
            return known
    except FileNotFoundError:
        state.mkdir(parents=True, exist_ok=True)
    made = secrets.token_hex(8)
    replace(path, f"{made}\n".encode())
    return made


def _time(key: str) -> int:
    """When a hint was written; 0 for one that is not ours."""
    try:
        return int(key.rpartition("/")[2], 16)
    except ValueError:
        return 0
