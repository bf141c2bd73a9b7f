"""Commands of clients, run to their end, and daemons of clients, run for a test."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.components.require import require
from tests.live import kill, wait_for

RUN_SECONDS = 90.0
DAEMON_SECONDS = 60.0
_HOME = re.compile(r"^(DISTSERVER|DOCKER|XDG|REGISTRY|CONTAINER)")


def environment(home: Path) -> dict[str, str]:
    """Our environment with a home of its own, so that no file of the user is read or written."""
    kept = {name: text for name, text in os.environ.items() if not _HOME.match(name)}
    return {
        **kept,
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "DOCKER_CONFIG": str(home / "docker"),
        "REGISTRY_AUTH_FILE": str(home / "auth.json"),
        "TMPDIR": str(home),
    }


class Client:
    """A command-line client with a home of its own.

    options  what follows the command in every call
    """

    def __init__(self, command: str, home: Path, *options: str) -> None:
        self.command = (require(command), *options)
        self.env = environment(home)
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        # podman and buildah refuse to start if the file that the variable names is not there.
        (home / "auth.json").write_text('{"auths": {}}')

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Run the client and return its standard output. Fails the test if the client fails."""
        done = self.attempt(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def attempt(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run the client, whatever comes of it."""
        return subprocess.run(
            [*self.command, *arguments],
            input=stdin,
            env=self.env,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )


@contextmanager
def daemon(
    home: Path, ready: Callable[[], bool], *command: str, env: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run a client's daemon until the block ends; yields its process id.

    home   gets daemon.log; what is mounted below it is unmounted at the end
    ready  probe that is true once the daemon serves
    """
    home.mkdir(parents=True, exist_ok=True)
    log = home / "daemon.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [require(command[0]), *command[1:]],
            env={**environment(home), **(env or {})},
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(lambda: _alive(process, log) and ready(), DAEMON_SECONDS, f"ready {command[0]}")
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(DAEMON_SECONDS)
        except subprocess.TimeoutExpired:
            kill(process.pid)
            process.wait(DAEMON_SECONDS)
        unmount(home)


def unmount(directory: Path) -> None:
    """Unmount all that is mounted below a directory, innermost first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed([p for p in points if Path(p).is_relative_to(directory)]):
        subprocess.run([require("umount"), point], check=True, timeout=30)


def _alive(process: subprocess.Popen[bytes], log: Path) -> bool:
    code = process.poll()
    assert code is None, f"the daemon ended with {code}:\n{log.read_text(errors='replace')}"
    return True
