"""Machines with kernels of their own: user mode Linux, which runs wherever a process does.

Few hosts of tests can mount NFS; these kernels can, and serve it. A machine has the root of one
image, which it cannot change. What a server has to keep is on a disk.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.components.require import require
from tests.drills.boot import debian
from tests.live import wait_for

SOURCE = Path(__file__).parents[2]
INIT = Path(__file__).parent / "init.sh"
MODULES = Path("/usr/lib/uml/modules")
PACKAGES = "nfs-kernel-server,nfs-common,python3,iproute2,kmod,openssh-server"
BOOT_SECONDS, COMMAND_SECONDS = 180.0, 120.0
MEMORY = "512M"
BRIDGE = "site"
READY = {"server": 2049, "client": 22}
"""Port of each role that answers when the machine is up."""


@cache
def image() -> Path:
    """Return the directory of the root, built at the first call."""
    root = debian("nfs", PACKAGES)
    (root / "lib/modules").mkdir(exist_ok=True)
    shutil.copy(INIT, root / "init.sh")
    return root


def disk(path: Path, size: str) -> Path:
    """Make a disk with an empty file system."""
    command = [require("mke2fs"), "-q", "-t", "ext4", str(path), size]
    subprocess.run(command, check=True, timeout=COMMAND_SECONDS)
    return path


def ip(*arguments: str) -> None:
    """Run `ip` in the network namespace of this thread."""
    subprocess.run([require("ip"), *arguments], check=True, timeout=COMMAND_SECONDS)


@dataclass
class Machine:
    """A machine that is off at first, plugged into the bridge of this thread's network namespace.

    directory  of its console's log; clients see it as /opt/site
    role       what init.sh makes of it: "server" or "client"
    number     gives it its name, address and cable
    disk       what a server keeps
    """

    directory: Path
    role: str
    number: int
    disk: Path | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"10.232.0.{self.number}"

    @property
    def name(self) -> str:
        """Its name, and that of the interface that leads to it."""
        return f"vm{self.number}"

    def wire(self) -> None:
        """Lay its cable."""
        ip("tuntap", "add", "dev", self.name, "mode", "tap")
        ip("link", "set", self.name, "up")
        self.plug()

    def boot(self) -> None:
        """Switch on."""
        with (self.directory / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_up(self) -> None:
        """Wait until it does what its role is."""
        wait_for(self._answers, BOOT_SECONDS, f"{self.role} {self.number}")

    def cut_power(self) -> None:
        """Let it lose all that it has not written to its disk."""
        if self.process:
            # Its processes are processes of ours; all are in the session that we gave it.
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(COMMAND_SECONDS)
            self.process = None

    def unplug(self) -> None:
        """Pull its cable: nothing comes or goes, and nobody is told."""
        ip("link", "set", self.name, "nomaster")

    def plug(self) -> None:
        """Put it back."""
        ip("link", "set", self.name, "master", BRIDGE)

    def console(self) -> str:
        """What it has shown so far."""
        return (self.directory / f"{self.name}.log").read_text(errors="replace")

    def _command(self) -> list[str]:
        words = {
            "mem": MEMORY,
            "root": "/dev/root",
            "rootfstype": "hostfs",
            "rootflags": image(),
            "init": "/init.sh",
            "eth0": f"tuntap,{self.name},52:54:00:00:00:{self.number:02x}",
            "con": "null",
            "con0": "null,fd:1",
            "panic": -1,
            "uml_dir": self.directory,
            "umid": f"{self.name}-{os.urandom(4).hex()}",
            "role": self.role,
            "host": self.name,
            "address": self.address,
            "modules": MODULES,
            "source": SOURCE,
            "packages": sysconfig.get_path("purelib"),
            "site": self.directory,
            **({"ubdb": self.disk} if self.disk else {}),
        }
        return [require("linux.uml"), "ro", *(f"{name}={value}" for name, value in words.items())]

    def _answers(self) -> bool:
        assert self.process and self.process.poll() is None, self.console()
        try:
            socket.create_connection((self.address, READY[self.role]), 1).close()
        except OSError:
            return False
        return True
