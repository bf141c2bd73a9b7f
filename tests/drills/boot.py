"""Machines that really boot: Debian with systemd in a container of its own, without a network.

The root is built once, by mmdebstrap, into .tools/roots; a machine writes into an overlay over it.
A power cut kills every process of a machine at once; what was acknowledged has to be there at the
next boot.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from tests.drills.reach import reached
from tests.live import Server, children, kill, wait_for

TOOLS = Path(__file__).parents[2] / ".tools"
PACKAGES = "systemd-sysv,dbus,python3,python3-venv,make,iproute2,procps,containerd"
BUILD_SECONDS, BOOT_SECONDS, COMMAND_SECONDS, OFF_SECONDS = 600.0, 60.0, 300.0, 60.0
PORT = 5000


def debian(name: str = "systemd", packages: str = PACKAGES) -> Path:
    """Return the directory of a root with packages, built at the first call with this name."""
    root = TOOLS / "roots" / name
    if root.exists():
        return root
    root.parent.mkdir(parents=True, exist_ok=True)  # mmdebstrap makes the last part only
    unfinished = root.with_suffix(f".{os.getpid()}")
    command = ["mmdebstrap", "--variant=minbase", f"--include={packages}", "bookworm"]
    subprocess.run([*command, str(unfinished)], check=True, timeout=BUILD_SECONDS)
    unfinished.rename(root)
    return root


@dataclass
class Machine:
    """A machine that is off at first.

    directory  of its overlay and its console's log
    lower      directories that its root shows where it has not written, the uppermost first
    shares     directories of ours that it sees, by the path where
    port       of ours that leads to the registry in it
    pid        of its init
    """

    directory: Path
    lower: Sequence[Path]
    shares: dict[str, Path] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    pid: int = 0
    started: float = 0.0

    @property
    def root(self) -> Path:
        """The root, as it looks from outside."""
        return self.directory / "root"

    @property
    def written(self) -> Path:
        """What the machine has written: the layer to put below another."""
        return self.directory / "upper"

    def boot(self) -> None:
        """Switch on; return when init runs. `started` tells when the switch was pressed."""
        binds = [f"--bind-ro={path}:{where}" for where, path in self.shares.items()]
        command = [
            *("systemd-nspawn", "--quiet", "--directory", str(self.root), "--boot"),
            *("--register=no", "--keep-unit", "--private-network", "--link-journal=no"),
            *("--console=pipe", "--tmpfs=/var/lib/containerd", *binds),
        ]
        with (self.directory / "console.log").open("ab") as log:
            self.started = time.monotonic()
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.pid = wait_for(self._init, BOOT_SECONDS, "init")

    def wait_until_up(self) -> None:
        """Wait until all that is enabled was started; a unit that failed does not matter here."""
        state = lambda: self.attempt("systemctl", "is-system-running").stdout.strip()  # noqa: E731
        wait_for(lambda: state() in ("running", "degraded"), BOOT_SECONDS, "end of the boot")

    def cut_power(self) -> None:
        """Kill all that runs, at once."""
        if self.process is None:
            return
        # The kernel takes every process of the namespace of init along.
        kill(self.pid or self.process.pid)
        self.process.wait(OFF_SECONDS)
        self.process = None

    def shut_down(self) -> None:
        """Switch off as an operator does; services may stop."""
        if self.process is None:
            return
        os.kill(self.pid, signal.SIGRTMIN + 4)
        self.process.wait(OFF_SECONDS)
        self.process = None

    def run(self, *command: str, seconds: float = COMMAND_SECONDS) -> str:
        """Run a command in the machine; return what it said. Raises: CalledProcessError."""
        done = self.attempt(*command, seconds=seconds)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def attempt(
        self, *command: str, seconds: float = COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """As run, whatever the exit code."""
        enter = ["nsenter", "--target", str(self.pid), "-m", "-u", "-i", "-n", "-p", "-C"]
        clean = ["env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
        return subprocess.run(
            [*enter, *clean, *command], capture_output=True, text=True, timeout=seconds
        )

    def show(self, unit: str, name: str) -> str:
        """A property of a unit; "" while init does not answer yet."""
        done = self.attempt("systemctl", "show", "--value", f"--property={name}", unit)
        return done.stdout.strip()

    @property
    def server(self) -> Server:
        """The registry in it, for what asks a server; its process is not ours to end."""
        assert self.process
        url = f"http://127.0.0.1:{self.port}"
        return Server(self.directory, (), {}, self.process, url, self.port)

    def serves(self) -> bool:
        """Whether the registry answers now."""
        try:
            url = f"http://127.0.0.1:{self.port}/healthz"
            return requests.get(url, timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def _init(self) -> int:
        assert self.process and self.process.poll() is None, self.console()
        return next(filter(_is_init, children(self.process.pid)), 0)

    def console(self) -> str:
        """What the machine has shown so far."""
        return (self.directory / "console.log").read_text(errors="replace")


@contextmanager
def machine(
    directory: Path, *layers: Path, shares: dict[str, Path] | None = None
) -> Iterator[Machine]:
    """Lend a machine, off at first; it loses its power at the end.

    layers  what other machines have written, to be there already; the uppermost first
    """
    made = Machine(directory, [*layers, debian()], shares or {})
    for name in ("root", "upper", "work"):
        (directory / name).mkdir(parents=True)
    lower = ":".join(map(str, made.lower))
    options = f"lowerdir={lower},upperdir={made.written},workdir={directory / 'work'}"
    mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(made.root)]
    subprocess.run(mount, check=True, timeout=OFF_SECONDS)
    try:
        with reached(lambda: made.pid, PORT) as made.port:
            yield made
    finally:
        made.cut_power()
        subprocess.run(["umount", str(made.root)], check=True, timeout=OFF_SECONDS)
        shutil.rmtree(directory / "work")


def _is_init(pid: int) -> bool:
    """Whether a child of systemd-nspawn is the machine's init; its first one only prepares."""
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "systemd\n"
    except FileNotFoundError:
        return False
