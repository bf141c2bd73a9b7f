"""Which process fetches a blob: the one that holds the lock of its partial."""

from __future__ import annotations

from pathlib import Path

from tests.links.ours import Ours
from tests.live import kill, wait_for


def owner_of(server: Ours, digest: str) -> int:
    """Process id of the worker that fetches a blob; waits until there is one."""
    pid = wait_for(lambda: _owner(server, digest), 10, "owner of the fetch")
    assert pid in server.server.workers()
    return pid


def kill_owner(server: Ours, digest: str) -> None:
    """Kill the worker that fetches a blob, and see it gone: then its sockets are closed."""
    owner = owner_of(server, digest)
    kill(owner)
    wait_for(lambda: owner not in server.server.workers(), 10, "end of the worker")


def _owner(server: Ours, digest: str) -> int | None:
    partial = server.partial(digest)
    return _holder(partial / "lock") if partial else None


def _holder(path: Path) -> int | None:
    """Who holds a file's flock: a line is `1: FLOCK ADVISORY WRITE pid major:minor:inode 0 EOF`."""
    try:
        inode = path.stat().st_ino
    except FileNotFoundError:
        return None
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "FLOCK" and int(fields[5].rpartition(":")[2]) == inode:
            return int(fields[4])
    return None
