"""What was pulled lately, for people: a small file in the state directory, for all workers."""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from cachetools import TTLCache

log = logging.getLogger(__name__)

AGAIN_SECONDS = 60.0
"""A pull that a process noted is not noted again within this."""
MAX_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Pull:
    """A manifest that a client got; time is wall-clock."""

    time: float
    name: str
    reference: str


class Recent:
    """The last pulls of a node. Losing them costs nothing."""

    def __init__(self, state: Path) -> None:
        self._path = state / "recent"
        self._lock = threading.Lock()
        self._noted: TTLCache[tuple[str, str], bool] = TTLCache(1000, AGAIN_SECONDS)

    def note(self, name: str, reference: str) -> None:
        """Note a pull."""
        with self._lock:
            if (name, reference) in self._noted:
                return
            self._noted[name, reference] = True
        try:
            self._append(json.dumps([time.time(), name, reference]) + "\n")
        except OSError as exc:
            log.debug("a pull is not noted: %s", exc)

    def last(self, count: int) -> list[Pull]:
        """Return the last pulls, newest first, each image once."""
        found: dict[tuple[str, str], Pull] = {}
        for pull in filter(None, map(_parse, reversed(self._lines()))):
            found.setdefault((pull.name, pull.reference), pull)
        return list(found.values())[:count]

    def _append(self, line: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(line)
            full = file.tell() > MAX_BYTES
        if full:
            self._path.replace(self._path.with_name("recent.old"))

    def _lines(self) -> list[str]:
        lines: list[str] = []
        for path in (self._path.with_name("recent.old"), self._path):
            try:
                lines += path.read_text(errors="replace").splitlines()
            except OSError as exc:
                log.debug("no earlier pulls: %s", exc)
        return lines


def _parse(line: str) -> Pull | None:
    try:
        when, name, reference = json.loads(line)
        return Pull(float(when), str(name), str(reference))
    except (ValueError, TypeError):
        return None
