"""Nodes that each hold a full copy: a server, and a real Syncthing that copies its storage."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.components.require import require
from tests.live import Server, start_server, wait_for
from tests.protocol.arriving import files_of

CONFIGURE = Path(__file__).parents[2] / "contrib" / "syncthing" / "configure.py"
CONFIGURE_SECONDS, STOP_SECONDS, SYNC_SECONDS = 60.0, 30.0, 120.0
MAX_KIB = 8192
"""Copying is slow, so that who looks meanwhile sees a storage to which half an image has come."""


@dataclass
class Node:
    """A node; its server runs, its Syncthing runs once it knows the others."""

    server: Server
    address: str
    device: str = ""
    syncthing: subprocess.Popen[bytes] | None = None

    @property
    def storage(self) -> Path:
        return self.server.storage

    def configure(self, *peers: Node) -> None:
        """Do what the guide says; without peers it makes the keys."""
        others = [f"{peer.device}={peer.address}" for peer in peers]
        options = {
            "--home": self.server.directory / "syncthing",
            "--storage": self.storage,
            "--listen": self.address,
            "--gui": f"127.0.0.1:{free_port()}",
            "--max-kib": MAX_KIB,
        }
        arguments = [str(word) for option in options.items() for word in option]
        done = subprocess.run(
            [sys.executable, str(CONFIGURE), *arguments, *others],
            capture_output=True,
            text=True,
            timeout=CONFIGURE_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        self.device = done.stdout.strip()

    def copy(self) -> None:
        """Start Syncthing."""
        home = self.server.directory / "syncthing"
        command = [require("syncthing"), "serve", f"--home={home}", "--no-browser", "--no-restart"]
        env = {**os.environ, "STNOUPGRADE": "1"}
        with (home / "log").open("ab") as log:
            self.syncthing = subprocess.Popen(
                command, env=env, stdout=log, stderr=log, start_new_session=True
            )

    def die(self) -> None:
        """Lose power: the server and Syncthing end at once."""
        self.server.kill()
        if self.syncthing:
            # It is a parent and a child; both are in the session that we gave it.
            os.killpg(self.syncthing.pid, signal.SIGKILL)
            self.syncthing.wait(STOP_SECONDS)
            self.syncthing = None

    def rejoin(self) -> None:
        """Get power again."""
        self.server = self.server.restart()
        self.copy()


def start_nodes(directory: Path, count: int, config: Path) -> list[Node]:
    """Start nodes that copy from each other."""
    env = {"DISTSERVER_CONFIG": str(config)}
    nodes = [
        Node(
            start_server(directory / f"node{number}", "--workers", "2", env=env),
            f"tcp://127.0.0.1:{free_port()}",
        )
        for number in range(1, count + 1)
    ]
    for node in nodes:
        node.configure()
    for node in nodes:
        node.configure(*(peer for peer in nodes if peer is not node))
        node.copy()
    return nodes


def wait_until_equal(*nodes: Node) -> None:
    """Wait until all nodes hold the same files."""
    wait_for(lambda: _equal(nodes), SYNC_SECONDS, "equal storages")


def free_port() -> int:
    """Return a port that the kernel just gave; Syncthing takes no port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _equal(nodes: tuple[Node, ...]) -> bool:
    try:
        first, *others = (
            [(p, (n.storage / p).stat().st_size) for p in files_of(n.storage)] for n in nodes
        )
    except FileNotFoundError:
        return False  # one went while we looked
    return all(other == first for other in others)
