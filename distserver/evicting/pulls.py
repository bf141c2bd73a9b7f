"""When each image was last pulled here: in memory, each minute into a file of the node.

A crash loses a minute of it; an image that is not in it counts as pulled when it came.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from cachetools import LRUCache

from distserver.oci.digests import Digest
from distserver.proxy.replace import replace
from distserver.registry.locks import lock

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""A repository and the digest of a manifest."""

FLUSH_SECONDS = 60.0
MOST = 20_000
MAX_BYTES = 16 << 20
"""The file is written anew, with the newest MOST, when it is larger."""


class Pulls:
    """The last pulls of a node, noted by all its processes."""

    def __init__(self, state: Path) -> None:
        self._path = state / "pulls"
        self._lock = threading.Lock()
        self._new: LRUCache[Key, float] = LRUCache(MOST)

    def note(self, name: str, digest: Digest) -> None:
        """Note that a manifest was pulled now."""
        with self._lock:
            self._new[name, str(digest)] = time.time()

    def start(self) -> None:
        """Write what is noted each minute, in a thread. Call it after fork."""
        threading.Thread(target=self._run, name="pulls", daemon=True).start()

    def flush(self) -> None:
        """Write what is noted; what cannot be written now is written later."""
        with self._lock:
            new, self._new = self._new, LRUCache(MOST)
        if not new:
            return
        try:
            self._append(new)
        except OSError as exc:
            log.warning("when images were pulled is written later: %s", exc)
            with self._lock:
                for key in new.keys() - self._new.keys():
                    self._new[key] = new[key]

    def last(self) -> dict[Key, float]:
        """Return the wall-clock time of each image's last pull, as written. Raises: OSError."""
        return newest(decode(self._read()))

    def _run(self) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            self.flush()

    def _append(self, new: Mapping[Key, float]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_name("pulls.lock").open("w") as held:
            lock(held.fileno())
            with self._path.open("ab") as file:
                file.write(encode(new))
                full = file.tell() > MAX_BYTES
            if full:
                replace(self._path, encode(newest(decode(self._read()))))

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                return file.read(2 * MAX_BYTES)
        except FileNotFoundError:
            return b""


def encode(pulls: Mapping[Key, float]) -> bytes:
    """Return a line of JSON for each pull."""
    lines = (json.dumps([round(when, 3), *key]) + "\n" for key, when in pulls.items())
    return "".join(lines).encode()


def decode(data: bytes) -> Iterable[tuple[Key, float]]:
    """Yield the pulls of lines; a line that is cut short, or none of ours, is passed over."""
    for line in data.splitlines():
        try:
            when, name, digest = json.loads(line)
            yield (str(name), str(digest)), float(when)
        except (ValueError, TypeError):
            log.debug("no pull: %r", line[:80])


def newest(pulls: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    """Return the last pull of each image, of the newest MOST; a time in the future is now."""
    found: dict[Key, float] = {}
    now = time.time()
    for key, when in pulls:
        found[key] = max(found.get(key, 0.0), min(when, now))
    return dict(sorted(found.items(), key=lambda item: item[1])[-MOST:])
