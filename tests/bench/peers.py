"""The servers that are compared: ours, nginx with static files, docker-registry."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.live import START_SECONDS, STOP_SECONDS, children, start_server, wait_for

_NGINX = """\
daemon off; user root; worker_processes 1; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; multi_accept on; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000000;
  open_file_cache max=10000 inactive=600s; default_type application/vnd.oci.image.manifest.v1+json;
  client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t;
  scgi_temp_path t;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""
_DOCKER = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, cache: {{blobdescriptor: inmemory}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@dataclass
class Peer:
    """A running server. root is the tree of static files where there is no push, else None."""

    name: str
    port: int
    pid: int
    root: Path | None = None

    @property
    def url(self) -> str:
        """http://HOST:PORT."""
        return f"http://127.0.0.1:{self.port}"

    def processes(self) -> list[int]:
        """Its process and all below it."""
        found = [self.pid]
        for pid in found:
            found.extend(children(pid))
        return found

    def cpu_seconds(self) -> float:
        """CPU time, user and system, that its processes have used so far."""
        ticks = 0
        for pid in self.processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def pss_bytes(self) -> int:
        """Proportional memory of all its processes."""
        return 1024 * sum(
            int(line.split()[1])
            for pid in self.processes()
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            if line.startswith("Pss:")
        )


@contextmanager
def ours(directory: Path) -> Iterator[Peer]:
    """Run our server with one worker."""
    server = start_server(directory, "--workers", "1")
    try:
        yield Peer("distserver", server.port, server.pid)
    finally:
        server.kill()
        server.session.close()


@contextmanager
def nginx(directory: Path) -> Iterator[Peer]:
    """Run nginx over directory/root."""
    root = directory / "root"
    (root / "v2").mkdir(parents=True, exist_ok=True)
    (root / "v2" / "index.html").write_text("{}")
    port = _free_port()
    config = directory / "nginx.conf"
    config.write_text(_NGINX.format(port=port, root=root))
    command = ["nginx", "-p", str(directory), "-e", "stderr", "-c", str(config)]
    with _running(command, port) as pid:
        yield Peer("nginx", port, pid, root)


@contextmanager
def docker_registry(directory: Path) -> Iterator[Peer]:
    """Run docker-registry over directory/root."""
    directory.mkdir(exist_ok=True)
    port = _free_port()
    config = directory / "config.yml"
    config.write_text(_DOCKER.format(port=port, root=directory / "root"))
    with _running(["docker-registry", "serve", str(config)], port) as pid:
        yield Peer("docker-registry", port, pid)


@contextmanager
def _running(command: list[str], port: int) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: _answers(process, port), START_SECONDS, command[0])
        yield process.pid
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
    try:
        return requests.get(f"http://127.0.0.1:{port}/v2/", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
