"""podman with a storage of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clients.run import Client, unmount


@contextmanager
def own_podman(root: Path) -> Iterator[Client]:
    """Lend a podman that keeps everything below a directory."""
    # podman refuses a runroot of more than 50 characters.
    with tempfile.TemporaryDirectory(prefix="podman") as runroot:
        store = ("--root", str(root / "root"), "--runroot", runroot)
        yield Client("podman", root / "home", *store, "--storage-driver", "vfs")
        unmount(Path(runroot))
        unmount(root)
