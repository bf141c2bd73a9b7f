"""Real servers for tests: our command as a child process, on a port that the kernel chose."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import requests

T = TypeVar("T")

START_SECONDS = 30.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.02
REPLICAS = int(os.environ.get("TEST_REPLICAS", "1"))
"""Of how many directories the storage of each server is made."""
_LISTENING = re.compile(r"Listening at: (https?)://([^:]+):(\d+) \((\d+)\)")


@dataclass
class Server:
    """A running `distserver serve`.

    directory  of its storage/, state/ and log
    arguments  as given to the command
    before     what was put before the command
    """

    directory: Path
    arguments: tuple[str, ...]
    env: Mapping[str, str]
    process: subprocess.Popen[bytes]
    url: str
    port: int
    session: requests.Session = field(default_factory=requests.Session)
    before: tuple[str, ...] = ()

    @property
    def pid(self) -> int:
        """Process id of gunicorn's master."""
        return self.process.pid

    @property
    def host(self) -> str:
        """HOST:PORT, as image names carry it."""
        return self.url.partition("//")[2]

    @property
    def storage(self) -> Path:
        """Directory of the storage, or of its replicas."""
        return self.directory / "storage"

    @property
    def places(self) -> tuple[str, ...]:
        """What its configuration says of the storage."""
        return places(self.storage)

    @property
    def log(self) -> str:
        """All that the server has written so far."""
        return (self.directory / "server.log").read_text(errors="replace")

    def workers(self) -> list[int]:
        """Process ids of the workers that live now."""
        return children(self.pid)

    def request(self, method: str, path: str, **options: object) -> requests.Response:
        """Send one request; path begins with "/" and may also be an absolute URL."""
        options.setdefault("timeout", 30)
        options.setdefault("allow_redirects", False)
        url = path if "://" in path else self.url + path
        return self.session.request(method, url, **options)  # type: ignore[arg-type]

    def stop(self) -> int:
        """Stop gracefully and return the exit code."""
        self.session.close()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """Kill the master and every worker, as a crash of the machine's processes would."""
        self.session.close()
        if self.process.poll() is not None:
            return  # its number may be another process's by now
        for pid in (self.pid, *self.workers()):
            kill(pid)
        self.process.wait(STOP_SECONDS)

    def restart(self) -> Server:
        """Start again over the same storage, on the same port; stops first if need be."""
        self.stop()
        options = {"env": self.env, "port": self.port, "before": self.before}
        return start_server(self.directory, *self.arguments, **options)  # type: ignore[arg-type]


def start_server(
    directory: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    port: int = 0,
    storage: Path | str | tuple[str, ...] | None = None,
    before: tuple[str, ...] = (),
) -> Server:
    """Start a server with `--init` and wait until it is ready.

        directory  gets state/, server.log and, unless storage says otherwise, storage/
        arguments  more of the command's own, such as "--workers", "1"
        env        DISTSERVER_* variables beside those of the tests
        before     a command that becomes ours by exec, such as `unshare --mount`
    Raises: RuntimeError with its log if it does not come up.
    """
    directory.mkdir(parents=True, exist_ok=True)
    environ = {
        **os.environ,
        "DISTSERVER_RESERVE_BYTES": "0",
        "DISTSERVER_GRACEFUL_TIMEOUT_SECONDS": "20",
        "RUNTIME_DIRECTORY": str(directory),
        **(env or {}),
    }
    command = [
        *(*before, sys.executable, "-m", "distserver", "serve", "--init"),
        *("--listen", f"127.0.0.1:{port}"),
        *storage_flags(directory / "storage" if storage is None else storage),
        *("--state", str(directory / "state"), *arguments),
    ]
    log = directory / "server.log"
    with log.open("ab") as output:
        offset = output.tell()
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environ)
    try:
        match = wait_for(lambda: _listening(process, log, offset), START_SECONDS, "server")
        url, bound = f"{match[1]}://{match[2]}:{match[3]}", int(match[3])
        server = Server(directory, arguments, env or {}, process, url, bound, before=before)
        wait_for(lambda: _answers(server), START_SECONDS, "answer")
    except BaseException:
        process.kill()
        process.wait(STOP_SECONDS)
        raise
    return server


def places(storage: Path | str | tuple[str, ...]) -> tuple[str, ...]:
    """The URLs of a storage: those given, or a directory, or TEST_REPLICAS directories below it.

    With TEST_STORAGES, such as s3://bucket, a path means a prefix in there.
    """
    if isinstance(storage, tuple):
        return storage
    base = os.environ.get("TEST_STORAGES")
    if base and isinstance(storage, Path):
        return (f"{base}/{hashlib.sha256(bytes(storage)).hexdigest()[:32]}",)
    if REPLICAS == 1:
        return (str(storage),)
    return tuple(f"{storage}/{number}" for number in range(REPLICAS))


def storage_flags(storage: Path | str | tuple[str, ...]) -> list[str]:
    """What tells a command of a storage in a directory."""
    return [flag for place in places(storage) for flag in ("--storage", place)]


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Lend a server; it has to end well, without a traceback, and is gone in any case."""
    try:
        yield server
        assert server.stop() == 0
        assert "Traceback" not in server.log
    finally:
        server.kill()


def wait_for(probe: Callable[[], T], seconds: float, what: str) -> T:
    """Return the first true answer of a probe. Raises: TimeoutError naming what was awaited."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := probe():
            return answer
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"no {what} within {seconds} s")


def children(pid: int) -> list[int]:
    """Process ids of the living children of a process."""
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except FileNotFoundError:
        return []


def kill(pid: int) -> None:
    """Kill -9; a process that is gone already is no error."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _listening(process: subprocess.Popen[bytes], log: Path, offset: int) -> re.Match[str] | None:
    text = log.read_bytes()[offset:].decode(errors="replace")
    if process.poll() is not None:
        raise RuntimeError(f"the server ended with {process.returncode}:\n{text}")
    return _LISTENING.search(text)


def _answers(server: Server) -> bool:
    try:
        return server.request("GET", "/healthz", verify=False).status_code == 200
    except requests.ConnectionError:
        return False
