"""Servers that reach the members of one set by paths of their own: each can be cut off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from backends import initialise, open_backend
from tests.live import Server, start_server

MEMBERS = 3


@dataclass
class Pod:
    """A server, and the links by which it reaches members."""

    server: Server
    links: list[Path]
    members: list[Path]

    def cut(self, number: int) -> None:
        """Take a member out of this pod's sight."""
        self.links[number].unlink(missing_ok=True)

    def heal(self, number: int) -> None:
        """Let the pod see it again."""
        if not self.links[number].is_symlink():
            self.links[number].symlink_to(self.members[number])


@contextmanager
def pods(parent: Path, count: int) -> Iterator[list[Pod]]:
    """Start so many servers over a new set of MEMBERS directories."""
    members = [parent / f"member-{number}" for number in range(MEMBERS)]
    for member in members:
        member.mkdir(parents=True)
    initialise(open_backend(*map(str, members)))
    with ExitStack() as stack:
        made = [_start(parent / f"pod-{number}", members, stack) for number in range(count)]
        yield made
        assert not any("Traceback" in pod.server.log for pod in made)


def _start(directory: Path, members: list[Path], stack: ExitStack) -> Pod:
    links = [directory / "mnt" / member.name for member in members]
    links[0].parent.mkdir(parents=True)
    for link, member in zip(links, members, strict=True):
        link.symlink_to(member)
    server = start_server(directory, "--workers", "1", storage=tuple(map(str, links)))
    stack.callback(server.session.close)
    stack.callback(server.kill)
    return Pod(server, links, members)
