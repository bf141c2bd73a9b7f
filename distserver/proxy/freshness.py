"""When this node last heard from an upstream that a tag still names what is held: a file's time."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from distserver.oci.names import Tag


class Freshness:
    """Times of validation, shared by the processes of a node; losing them only costs a question."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def is_fresh(self, name: str, tag: Tag, ttl_seconds: float) -> bool:
        """Whether the tag was validated within ttl_seconds; a time in the future is no proof."""
        try:
            age = time.time() - self._path(name, tag).stat().st_mtime
        except OSError:
            return False
        return 0 <= age < ttl_seconds

    def validated(self, name: str, tag: Tag) -> None:
        """Note that the tag was validated now."""
        path = self._path(name, tag)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path)
        except OSError:
            return  # a full state directory: the tag is asked for again next time

    def _path(self, name: str, tag: Tag) -> Path:
        key = hashlib.sha256(f"{name}:{tag}".encode()).hexdigest()
        return self._directory / key[:2] / key
