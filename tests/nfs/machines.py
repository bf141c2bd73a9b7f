"""Machines with kernels of their own, under qemu without KVM: few hosts of tests can mount NFS.

One image of Debian, built once into .tools/nfs, serves all: each machine writes into a layer that
is thrown away. What it has to keep, or to be given, is on a second disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.components.require import require
from tests.live import kill, wait_for

INIT = Path(__file__).parent / "init.sh"
TOOLS = Path(__file__).parents[2] / ".tools"
PACKAGES = (
    "linux-image-cloud-amd64,nfs-kernel-server,nfs-common,python3,iproute2,kmod,openssh-server"
)
BUILD_SECONDS, BOOT_SECONDS, COMMAND_SECONDS = 900.0, 300.0, 120.0
IMAGE_SIZE = "1500M"
MEMORY_MIB = 448
BRIDGE = "site"
READY = {"server": 2049, "client": 22}
"""Port of each role that answers when the machine is up."""


def image() -> Path:
    """Return the directory of the image and its kernel, built at the first call."""
    key = hashlib.sha256(INIT.read_bytes() + PACKAGES.encode()).hexdigest()[:16]
    made = TOOLS / "nfs" / key
    if made.exists():
        return made
    unfinished = made.with_suffix(f".{os.getpid()}")
    root = unfinished / "root"
    unfinished.mkdir(parents=True)
    command = ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root)]
    subprocess.run(command, check=True, timeout=BUILD_SECONDS)
    for name in ("vmlinuz", "initrd"):
        next(root.glob(f"boot/{name}*")).rename(unfinished / name)
    shutil.copy(INIT, root / "init.sh")
    (root / "init.sh").chmod(0o755)
    disk(unfinished / "root.img", IMAGE_SIZE, root)
    shutil.rmtree(root)
    unfinished.rename(made)
    return made


def disk(path: Path, size: str, content: Path | None = None) -> Path:
    """Make a disk with an ext4 file system, empty or with the content of a directory."""
    given = ["-d", str(content)] if content else []
    command = [require("mke2fs"), "-q", "-t", "ext4", *given, str(path), size]
    subprocess.run(command, check=True, timeout=COMMAND_SECONDS)
    return path


def ip(*arguments: str) -> None:
    """Run `ip` in the network namespace of this thread."""
    subprocess.run([require("ip"), *arguments], check=True, timeout=COMMAND_SECONDS)


@dataclass
class Machine:
    """A machine that is off at first, plugged into the bridge of this thread's network namespace.

    directory  of its disk and its console's log
    role       what init.sh makes of it: "server" or "client"
    number     gives it its name, address and cable
    second     its second disk
    """

    directory: Path
    role: str
    number: int
    second: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"10.232.0.{self.number}"

    @property
    def cable(self) -> str:
        """The interface that leads to it."""
        return f"vm{self.number}"

    def wire(self) -> None:
        """Lay its cable."""
        ip("tuntap", "add", "dev", self.cable, "mode", "tap")
        ip("link", "set", self.cable, "up")
        self.plug()

    def boot(self) -> None:
        """Switch on."""
        with (self.directory / f"{self.cable}.log").open("ab") as log:
            self.process = subprocess.Popen(self._command(), stdout=log, stderr=log)

    def wait_until_up(self) -> None:
        """Wait until it does what its role is."""
        wait_for(self._answers, BOOT_SECONDS, f"{self.role} {self.number}")

    def cut_power(self) -> None:
        """Let it lose all that it has not written to its disk."""
        if self.process:
            kill(self.process.pid)
            self.process.wait(COMMAND_SECONDS)
            self.process = None

    def unplug(self) -> None:
        """Pull its cable: nothing comes or goes, and nobody is told."""
        ip("link", "set", self.cable, "nomaster")

    def plug(self) -> None:
        """Put it back."""
        ip("link", "set", self.cable, "master", BRIDGE)

    def _command(self) -> list[str]:
        made = image()
        words = f"role={self.role} host={self.cable} address={self.address} init=/init.sh"
        kernel = (
            f"root=/dev/vda rw quiet no_timer_check console=ttyS0 net.ifnames=0 panic=-1 {words}"
        )
        options = {
            "accel": "tcg,thread=multi",
            "cpu": "max",
            "m": str(MEMORY_MIB),
            "display": "none",
            "serial": "stdio",
            "kernel": str(made / "vmlinuz"),
            "initrd": str(made / "initrd"),
            "append": kernel,
            "netdev": f"tap,id=net,ifname={self.cable},script=no,downscript=no",
            "device": f"virtio-net-pci,netdev=net,mac=52:54:00:00:00:{self.number:02x}",
        }
        read_only = "off" if self.role == "server" else "on"
        drives = (
            f"file={made / 'root.img'},snapshot=on",
            f"file={self.second},readonly={read_only}",
        )
        return [
            *(require("qemu-system-x86_64"), "-nodefaults", "-no-reboot"),
            *(word for name, value in options.items() for word in (f"-{name}", value)),
            *(word for it in drives for word in ("-drive", f"{it},format=raw,if=virtio")),
        ]

    def _answers(self) -> bool:
        assert self.process and self.process.poll() is None, self.console()
        try:
            socket.create_connection((self.address, READY[self.role]), 1).close()
        except OSError:
            return False
        return True

    def console(self) -> str:
        """What it has shown so far."""
        return (self.directory / f"{self.cable}.log").read_text(errors="replace")
