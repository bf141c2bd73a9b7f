"""The files of a node: this machine's, or those below a directory that is a node's root."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_FILE_BYTES = 1 << 20
"""What is larger is no configuration."""


class NodeError(Exception):
    """A file of the node is not what it should be; the text says what and which."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node by its root directory; paths are as the node itself has them, from "/" on."""

    root: Path = Path("/")

    def path(self, path: str) -> Path:
        """Return where a file of the node lies here.

        Raises: NodeError if a link leads out of the root, to a file of another machine.
        """
        found = self.root / path.lstrip("/")
        directory = found.parent if found != self.root else found
        if not directory.resolve().is_relative_to(self.root.resolve()):
            raise NodeError(f"{found}: a link leads out of {self.root}")
        return found

    def exists(self, path: str) -> bool:
        """Whether there is something of this name, be it a link that leads nowhere."""
        return os.path.lexists(self.path(path))

    def read(self, path: str) -> bytes | None:
        """Return the contents of a file; None if it is not there. Raises: NodeError, OSError."""
        found = self.path(path)
        if not found.resolve().is_relative_to(self.root.resolve()):
            raise NodeError(f"{found}: a link leads out of {self.root}")
        try:
            with found.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if len(data) > MAX_FILE_BYTES:
            raise NodeError(f"{found} is larger than {MAX_FILE_BYTES >> 20} MiB")
        return data

    def glob(self, directory: str, pattern: str) -> Iterator[str]:
        """Yield the paths below a directory that fit, sorted."""
        for found in sorted(self.path(directory).glob(pattern)):
            yield f"/{found.relative_to(self.root)}"

    def replace(self, path: str, data: bytes) -> None:
        """Write a file whole: readers see the old one or the new one, also after a loss of power.

        A file that is replaced gives its owner and its rights to the new one. Raises: OSError.
        """
        target = self.path(path)
        new = target.with_name(f".{target.name}.new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            if target.exists():
                shutil.copystat(target, new)
                os.fchown(descriptor, target.stat().st_uid, target.stat().st_gid)
            else:
                os.fchmod(descriptor, 0o644)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        self.rename(new, target)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file beside its target, and let that outlive a loss of power."""
        source.replace(target)
        sync_directory(target.parent)


def sync_directory(directory: Path) -> None:
    """Let what was renamed or removed in a directory outlive a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
