"""When this node last heard from an upstream that something is as it is held: a file's time."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from pathlib import Path

log = logging.getLogger(__name__)

MAX_AGE_SECONDS = 90 * 86400.0


class Freshness:
    """Times of validation, shared by the processes of a node; losing them only costs a question.

    What is validated is named by a repository's name and a text: a tag, or what else was asked.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def is_fresh(self, name: str, what: str, ttl_seconds: float) -> bool:
        """Whether it was validated within ttl_seconds; a time in the future is no proof."""
        try:
            age = time.time() - self._path(name, what).stat().st_mtime
        except OSError:
            return False
        return 0 <= age < ttl_seconds

    def ever(self, name: str, what: str) -> bool:
        """Whether it was ever validated, as far as is remembered."""
        return self._path(name, what).exists()

    def validated(self, name: str, what: str) -> None:
        """Note that it was validated now."""
        path = self._path(name, what)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path)
        except OSError as exc:
            log.debug("not remembered, so it is asked for again: %s", exc)

    def sweep(self, max_age_seconds: float = MAX_AGE_SECONDS) -> None:
        """Forget what nobody has asked for in so long. Raises: OSError."""
        for path in self._directory.glob("*/*"):
            if time.time() - path.stat().st_mtime > max_age_seconds:
                path.unlink(missing_ok=True)

    def _path(self, name: str, what: str) -> Path:
        key = hashlib.sha256(f"{name}:{what}".encode()).hexdigest()
        return self._directory / key[:2] / key
