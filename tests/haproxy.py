"""A haproxy in front of several servers: each request goes to the next one."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.live import START_SECONDS, STOP_SECONDS, Server, wait_for

_CONFIGURATION = """\
global
    maxconn 2000
defaults
    mode http
    timeout connect 5s
    timeout client 120s
    timeout server 120s
    http-reuse never
    option redispatch 1
    retries 3
frontend front
    bind fd@{descriptor}
    default_backend servers
backend servers
    balance roundrobin
    no option prefer-last-server
"""


@dataclass
class Proxy:
    """A running haproxy; url is where clients go, as a Server has it."""

    process: subprocess.Popen[bytes]
    url: str

    @property
    def host(self) -> str:
        """HOST:PORT, as image names carry it."""
        return self.url.partition("//")[2]

    def stop(self) -> None:
        """End it at once; a second call does nothing."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(STOP_SECONDS)


def round_robin(directory: Path, servers: Sequence[Server]) -> Proxy:
    """Start a haproxy whose every request goes to the next of servers.

    The port is bound here and inherited, so that no other process can take it.
    Raises: FileNotFoundError if haproxy is not installed, RuntimeError with its output if it
        does not come up.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        port = listener.getsockname()[1]
        config = directory / "haproxy.cfg"
        config.write_text(_configuration(listener.fileno(), servers))
        with (directory / "haproxy.log").open("wb") as log:
            process = subprocess.Popen(
                ["haproxy", "-db", "-f", str(config)],
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
            )
    proxy = Proxy(process, f"http://127.0.0.1:{port}")
    wait_for(lambda: _answers(proxy, port, directory / "haproxy.log"), START_SECONDS, "haproxy")
    return proxy


def _configuration(descriptor: int, servers: Sequence[Server]) -> str:
    text = _CONFIGURATION.format(descriptor=descriptor)
    return text + "".join(f"    server s{n} {server.host}\n" for n, server in enumerate(servers))


def _answers(proxy: Proxy, port: int, log: Path) -> bool:
    if proxy.process.poll() is not None:
        raise RuntimeError(f"haproxy ended with {proxy.process.returncode}:\n{log.read_text()}")
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.settimeout(5)
            client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return client.recv(64).startswith(b"HTTP/1.")
    except OSError:
        return False
