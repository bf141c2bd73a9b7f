"""The servers that are compared: ours, nginx with static files, distribution, docker-registry."""

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
  log_format requests '$request_method $uri $body_bytes_sent'; access_log off;
  sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000000;
  open_file_cache max=10000 inactive=600s; default_type application/vnd.oci.image.manifest.v1+json;
  client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t;
  scgi_temp_path t;
  server {{ listen 127.0.0.1:{port}; root "{root}"; {more} }}
}}
"""
_DISTRIBUTION = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{{storage}, cache: {{blobdescriptor: inmemory}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_FILES = "filesystem: {{rootdirectory: {root}}}"
_PROXY = """proxy: {{remoteurl: "{upstream}"}}\n"""


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
def ours(directory: Path, storage: str | None = None) -> Iterator[Peer]:
    """Run our server with one worker, with its storage in the directory or at a URL."""
    server = start_server(directory, "--workers", "1", storage=storage)
    try:
        yield Peer("distserver", server.port, server.pid)
    finally:
        server.kill()
        server.session.close()


@contextmanager
def nginx(directory: Path) -> Iterator[Peer]:
    """Run nginx over directory/root."""
    with run_nginx(directory) as peer:
        yield peer


@contextmanager
def distribution(
    directory: Path, upstream: str = "", patience: float = START_SECONDS
) -> Iterator[Peer]:
    """Run distribution v3 over directory/root, before an upstream if one is given.

        patience  seconds until it has to answer
    Raises: RuntimeError if it ends, TimeoutError if it does not answer.
    """
    with _distribution("registry", directory, upstream, patience) as (pid, port):
        yield Peer("distribution v3", port, pid)


@contextmanager
def docker_registry(
    directory: Path, upstream: str = "", patience: float = START_SECONDS
) -> Iterator[Peer]:
    """Run docker-registry, which is distribution 2.8, likewise."""
    with _distribution("docker-registry", directory, upstream, patience) as (pid, port):
        yield Peer("docker-registry", port, pid)


@contextmanager
def over(program: str, directory: Path, storage: str) -> Iterator[Peer]:
    """Run a distribution of any version over a storage, as its configuration spells it."""
    with _distribution(program, directory, "", START_SECONDS, storage) as (pid, port):
        yield Peer(program, port, pid)


@contextmanager
def run_nginx(directory: Path, more: str = "") -> Iterator[Peer]:
    """Run nginx over directory/root; more = directives of its server."""
    root = directory / "root"
    (root / "v2").mkdir(parents=True, exist_ok=True)
    (root / "v2" / "index.html").write_text("{}")
    port = _free_port()
    config = directory / "nginx.conf"
    config.write_text(_NGINX.format(port=port, root=root, more=more))
    command = ["nginx", "-p", str(directory), "-e", "stderr", "-c", str(config)]
    with _running(command, port, START_SECONDS, directory) as pid:
        yield Peer("nginx", port, pid, root)


@contextmanager
def _distribution(
    program: str, directory: Path, upstream: str, patience: float, storage: str = ""
) -> Iterator[tuple[int, int]]:
    directory.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    config = directory / "config.yml"
    proxy = _PROXY.format(upstream=upstream) if upstream else ""
    storage = storage or _FILES.format(root=directory / "root")
    config.write_text(_DISTRIBUTION.format(port=port, storage=storage) + proxy)
    with _running([program, "serve", str(config)], port, patience, directory) as pid:
        yield pid, port


@contextmanager
def _running(command: list[str], port: int, patience: float, directory: Path) -> Iterator[int]:
    # Version 3 else sends a trace of each request to a collector; its image says none, too.
    environ = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    environ.pop("AWS_CA_BUNDLE", None)  # version 2 takes no other transport beside it
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
    try:
        wait_for(lambda: _answers(process, port, directory), patience, command[0])
        yield process.pid
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _answers(process: subprocess.Popen[bytes], port: int, directory: Path) -> bool:
    if process.poll() is not None:
        log = (directory / "log").read_text(errors="replace")
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}:\n{log[-2000:]}")
    try:
        return requests.get(f"http://127.0.0.1:{port}/v2/", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
