"""When this node last heard from an upstream that something is as it is held: a file's time.

The time of modification is when it was validated, that of access when somebody last asked for it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from pathlib import Path

log = logging.getLogger(__name__)

MAX_AGE_SECONDS = 90 * 86400.0
NOTE_SECONDS = 86400.0
"""That somebody asks is noted once in so long."""


class Freshness:
    """Times of validation, shared by the processes of a node; losing them only costs a question.

    What is validated is named by a repository's name and a text: a tag, or what else was asked.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def is_fresh(self, name: str, what: str, ttl_seconds: float) -> bool:
        """Whether it was validated within ttl_seconds; a time in the future is no proof."""
        age = self._age(name, what)
        return age is not None and 0 <= age < ttl_seconds

    def ever(self, name: str, what: str) -> bool:
        """Whether it was ever validated, as far as is remembered."""
        return self._age(name, what) is not None

    def validated(self, name: str, what: str) -> None:
        """Note that it was validated now."""
        path = self._path(name, what)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path)
        except OSError as exc:
            log.debug("not remembered, so it is asked for again: %s", exc)

    def forget(self, name: str, what: str) -> None:
        """Let it never have been validated."""
        try:
            self._path(name, what).unlink(missing_ok=True)
        except OSError as exc:
            log.warning("%s of %s still counts as known: %s", what, name, exc)

    def sweep(self, max_age_seconds: float = MAX_AGE_SECONDS) -> None:
        """Forget what nobody has asked for in so long. Raises: OSError."""
        for path in self._directory.glob("*/*"):
            status = path.stat()
            if time.time() - max(status.st_atime, status.st_mtime) > max_age_seconds:
                path.unlink(missing_ok=True)

    def _age(self, name: str, what: str) -> float | None:
        """Seconds since it was validated; None = never, as far as is remembered. Notes the asking.

        Blocks on: one stat, and once a day a write.
        """
        path = self._path(name, what)
        try:
            status = path.stat()
        except OSError:
            return None
        now = time.time()
        if now - status.st_atime > NOTE_SECONDS:
            _note_asked(path, status.st_mtime_ns)
        return now - status.st_mtime

    def _path(self, name: str, what: str) -> Path:
        key = hashlib.sha256(f"{name}:{what}".encode()).hexdigest()
        return self._directory / key[:2] / key


def _note_asked(path: Path, validated_ns: int) -> None:
    try:
        os.utime(path, ns=(time.time_ns(), validated_ns))
    except OSError as exc:
        log.debug("not noted that somebody asks: %s", exc)
