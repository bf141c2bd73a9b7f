"""A site: NFS servers, and clients that mount their exports and run our server over them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.components.require import require
from tests.links.netns import an_island, inside
from tests.live import Server, wait_for
from tests.nfs.machines import BRIDGE, COMMAND_SECONDS, Machine, disk, image, ip

OURS = "10.232.0.254/24"
EXPORT_SIZE = "1G"
PORT, WORKERS, START_SECONDS = 5000, 2, 180.0
SET = "vers=4.2,softerr,timeo=50,retrans=2,acdirmin=0,acdirmax=0,lookupcache=none"
"""Options of the guide for a replica set."""
SINGLE = "vers=4.2,hard,timeo=100,retrans=2,nconnect=4,noatime"
"""Options of the guide for a mount that is the only storage."""
ENVIRONMENT = {
    "PYTHONPATH": "/opt/source:/opt/packages",
    "PYTHONDONTWRITEBYTECODE": "1",
    "DISTSERVER_STATE": "/run/state",
    "DISTSERVER_RESERVE_BYTES": "0",
    "DISTSERVER_ALLOW_ANONYMOUS_PUSH": "true",
    "RUNTIME_DIRECTORY": "/run",
}


@dataclass
class Client:
    """A machine that takes our orders by ssh."""

    machine: Machine
    key: Path
    server: Server | None = None

    def ssh(self, command: str) -> list[str]:
        """The words that run a command of the shell on it."""
        words = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null")
        return [
            *(require("ssh"), "-i", str(self.key), "-o", "LogLevel=ERROR"),
            *(word for option in options for word in ("-o", option)),
            *(f"root@{self.machine.address}", "export", *words, ";", command),
        ]

    def run(self, command: str) -> str:
        """Run a command of the shell; return what it said. Raises: AssertionError."""
        done = subprocess.run(
            self.ssh(command), capture_output=True, text=True, timeout=COMMAND_SECONDS
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def mount(self, export: Machine, options: str) -> str:
        """Mount an export; return where."""
        where = f"/mnt/{export.name}"
        self.run(f"mkdir -p {where} && mount -t nfs -o {options} {export.address}:/ {where}")
        return where

    def serve(self, *storages: str, **env: str) -> Server:
        """Start our server over mounts; env is of its own."""
        directory = self.machine.directory / f"client{self.machine.number}"
        directory.mkdir()
        words = [f"{name}={value}" for name, value in env.items()]
        flags = [f"--storage {path}" for path in storages]
        listen = f"--listen 0.0.0.0:{PORT} --workers {WORKERS}"
        command = " ".join(["exec env", *words, "python3 -m distserver serve", listen, *flags])
        with (directory / "server.log").open("ab") as log:
            process = subprocess.Popen(self.ssh(command), stdout=log, stderr=log)
        url = f"http://{self.machine.address}:{PORT}"
        self.server = server = Server(directory, (), {}, process, url, PORT)
        wait_for(lambda: "Listening at" in server.log, START_SECONDS, "server")
        wait_for(lambda: server.request("GET", "/healthz").ok, START_SECONDS, "answer")
        return server

    def cut_power(self) -> None:
        """End with all that runs on it."""
        if self.server:
            self.server.kill()
        self.machine.cut_power()


@dataclass
class Site:
    """Machines that are up, in the network of this thread.

    exports  servers, each with one export
    """

    exports: list[Machine]
    clients: list[Client]

    def boot(self, *machines: Machine) -> None:
        """Switch machines on and wait until they are up."""
        for machine in machines:
            machine.boot()
        for machine in machines:
            machine.wait_until_up()

    def storages(self, client: Client, options: str) -> list[str]:
        """Mount every export at a client; return where."""
        return [client.mount(export, options) for export in self.exports]


@contextmanager
def a_site(directory: Path, exports: int, clients: int) -> Iterator[Site]:
    """Boot so many servers and clients. At the end they lose their power."""
    image()  # out here, where there is a network to build it from
    key = directory / "key"
    _make_key(key)
    servers = [
        Machine(directory, "server", n, disk(directory / f"export{n}.img", EXPORT_SIZE))
        for n in range(1, 1 + exports)
    ]
    others = [Machine(directory, "client", n) for n in range(101, 101 + clients)]
    made = Site(servers, [Client(machine, key) for machine in others])
    with an_island() as name, inside(name):
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("address", "add", OURS, "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        try:
            for machine in (*servers, *others):
                machine.wire()
            made.boot(*servers, *others)
            yield made
        finally:
            for one in (*made.clients, *servers):
                one.cut_power()


def _make_key(key: Path) -> None:
    command = [require("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(command, check=True, timeout=COMMAND_SECONDS)
