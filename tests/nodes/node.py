"""A node: the directory that `distserver node-config` writes to, and a containerd that reads it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clients.containerd import DEBIAN, Containerd, Release, running_containerd


def node_config(root: Path, command: str, runtime: str, *options: str) -> str:
    """Run our command on the node's files; it must succeed. Returns what it said."""
    arguments = (command, "--runtime", runtime, "--root", str(root), *options)
    done = subprocess.run(
        [sys.executable, "-m", "distserver", "node-config", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def containerd_of(root: Path, release: Release = DEBIAN) -> Iterator[Containerd]:
    """Run a containerd that reads the node's certs.d."""
    certs = root / "etc/containerd/certs.d"
    certs.mkdir(parents=True)
    # The path of its socket may not be long.
    with tempfile.TemporaryDirectory(prefix="containerd") as directory:
        (Path(directory) / "certs.d").symlink_to(certs)
        with running_containerd(Path(directory), release=release) as running:
            yield running
