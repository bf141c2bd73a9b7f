"""A server over a replica set of three mounts (FUSE), each of which can fail."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from backends import Filesystem, unguarded
from backends.replica.content import is_kept_equal
from tests.counts import count
from tests.faults import hasty
from tests.faults.faultfs import Mount, mounted
from tests.faults.images import Image, digest_of, live, push
from tests.live import Server, start_server, storage_flags, wait_for

MEMBERS = 3


@dataclass
class MountedSet:
    """Three mounts and a server over them."""

    mounts: list[Mount]
    server: Server
    image: Image

    @property
    def places(self) -> tuple[str, ...]:
        """What the configuration says of the storage."""
        return tuple(str(mount.path) for mount in self.mounts)

    def keys(self, number: int) -> set[str]:
        """What lies behind a mount for good."""
        behind = unguarded(Filesystem(self.mounts[number].behind))  # it may be empty
        return set(filter(is_kept_equal, behind.keys("")))

    def lacks(self, number: int) -> bool:
        """Whether a member has less than another."""
        return bool(self.keys((number + 1) % MEMBERS) - self.keys(number))

    def is_whole(self) -> bool:
        """Whether all members have everything, and the image's blobs as they were pushed."""
        equal = len({frozenset(self.keys(number)) for number in range(MEMBERS)}) == 1
        return equal and all(
            path.exists() and digest_of(path.read_bytes()).endswith(path.name)
            for number in range(MEMBERS)
            for path in self.copies(number)
        )

    def copies(self, number: int) -> list[Path]:
        """The files behind a mount that hold the image's blobs."""
        digits = [digest_of(blob).removeprefix("sha256:") for blob in self.image.blobs]
        root = self.mounts[number].behind / "blobs" / "sha256"
        return [root / each[:2] / each for each in digits]

    def command(self, *arguments: str) -> str:
        """Run a command of ours on the set, beside the server; return what it says."""
        flags = [*storage_flags(self.places), "--state", str(self.server.directory / "command")]
        done = subprocess.run(
            [sys.executable, "-m", "distserver", *arguments, *flags],
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def mounted_set(directory: Path, image: Image) -> Iterator[MountedSet]:
    """Lend a set that holds an image as site/held:v1; each pull of it comes from the mounts."""
    with ExitStack() as stack:
        mounts = [stack.enter_context(mounted(directory / f"m{n}")) for n in range(MEMBERS)]
        server = start_server(
            directory / "server",
            *("--workers", "2"),
            storage=tuple(str(mount.path) for mount in mounts),
            env={"DISTSERVER_HOT_BYTES": "0"},
            before=count((sys.executable, "-P", hasty.__file__), ()),
        )
        stack.callback(server.kill)
        push(live(server), "site/held", "v1", image)
        made = MountedSet(mounts, server, image)
        wait_for(made.is_whole, 30, "three copies")
        yield made
        assert "Traceback" not in server.log
