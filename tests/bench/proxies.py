"""The pull-through proxies that are compared, and the upstream before which they stand.

The upstream is nginx with static files, so that it is not what limits a proxy: it is measured
beside them.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.bench.load import digest_of
from tests.bench.peers import Peer, distribution, docker_registry, run_nginx
from tests.bench.scenarios import manifest_of
from tests.live import START_SECONDS, start_server, wait_for

REPOSITORY, NAMESPACE = "bench/image", "up.site"
QUERY = f"?ns={NAMESPACE}"
"""As containerd asks: ours needs it to tell whose image is meant, the others pass it over."""
IDLE_SECONDS = 120.0
_LOCATIONS = """
  access_log log.requests requests;
  location = /status {{ stub_status; access_log off; }}
  location ~ /manifests/(sha256:)?(?<hex>[0-9a-f]+)$ {{ add_header {digest}; }}
  location ~ /blobs/sha256:(?<hex>[0-9a-f]+)$ {{
    add_header {digest}; default_type application/octet-stream;
  }}
  error_page 404 @absent;
  location @absent {{ default_type application/json; return 404 '{{"errors": []}}'; }}
""".format(digest='Docker-Content-Digest "sha256:$hex"')
_CONFIG = """\
tag_ttl_seconds = {ttl}
[upstream."{namespace}"]
url = ["{upstream}"]
insecure = true
"""
Run = Callable[[Path, str, float], AbstractContextManager[Peer]]


@dataclass(frozen=True)
class Image:
    """An image at the upstream: its manifest, and the digests and sizes of its blobs."""

    manifest: bytes
    blobs: tuple[tuple[str, int], ...]

    @property
    def path(self) -> str:
        """Of its manifest by tag; the tag is the manifest's digest, so that nginx can tell it."""
        tag = digest_of(self.manifest).partition(":")[2]
        return f"/v2/{REPOSITORY}/manifests/{tag}{QUERY}"

    @property
    def blob_paths(self) -> list[str]:
        """Of its blobs."""
        return [f"/v2/{REPOSITORY}/blobs/{digest}{QUERY}" for digest, _ in self.blobs]


class Upstream:
    """A running upstream; counts what is fetched from it."""

    def __init__(self, peer: Peer, root: Path, log: Path) -> None:
        self.peer, self._root, self._log, self._read = peer, root, log, 0

    def publish(self, bodies: list[bytes]) -> Image:
        """Offer an image of these blobs."""
        blobs = tuple((digest_of(body), len(body)) for body in bodies)
        manifest = manifest_of(list(blobs))
        digest = digest_of(manifest)
        folder = self._root / "v2" / REPOSITORY
        named = {f"blobs/{name}": body for (name, _), body in zip(blobs, bodies, strict=True)}
        for tag in (digest, digest.partition(":")[2]):
            named[f"manifests/{tag}"] = manifest
        for name, body in named.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(body)
        return Image(manifest, blobs)

    def fetched(self) -> tuple[int, int]:
        """Wait until nobody fetches; return GETs of blobs, and their bytes, since the last call."""
        wait_for(self._idle, IDLE_SECONDS, "end of all fetches")
        with self._log.open() as file:
            file.seek(self._read)
            lines = [line.split() for line in file]
            self._read = file.tell()
        sent = [int(size) for method, path, size in lines if method == "GET" and "/blobs/" in path]
        return len(sent), sum(sent)

    def close(self) -> None:
        """Stop listening."""
        os.kill(self.peer.pid, signal.SIGTERM)
        wait_for(self._refuses, START_SECONDS, "end of the upstream")

    def silence(self) -> None:
        """From now on the kernel takes connections and requests, and nobody answers them."""
        for pid in self.peer.processes():
            os.kill(pid, signal.SIGSTOP)

    def _idle(self) -> bool:
        text = requests.get(f"{self.peer.url}/status", timeout=30).text
        return re.search(r"Writing: (\d+)", text)[1] == "1"  # type: ignore[index]

    def _refuses(self) -> bool:
        try:
            requests.get(f"{self.peer.url}/v2/", timeout=5)
        except requests.ConnectionError:
            return True
        return False


@contextmanager
def upstream(directory: Path) -> Iterator[Upstream]:
    """Run an upstream without images."""
    directory.mkdir(parents=True)
    with run_nginx(directory, _LOCATIONS) as peer:
        processes = peer.processes()
        try:
            yield Upstream(peer, directory / "root", directory / "log.requests")
        finally:
            for pid in processes:
                _go_on(pid)


def ours(ttl: int) -> Run:
    """Our proxy with every default but how long a tag counts as fresh, in seconds."""

    @contextmanager
    def run(directory: Path, upstream: str, _: float = START_SECONDS) -> Iterator[Peer]:
        directory.mkdir(parents=True, exist_ok=True)
        config = directory / "config.toml"
        config.write_text(_CONFIG.format(ttl=ttl, namespace=NAMESPACE, upstream=upstream))
        server = start_server(directory, "--config", str(config))
        try:
            yield Peer("distserver", server.port, server.pid)
        finally:
            server.kill()

    return run


PROXIES: dict[str, Run] = {
    "distserver": ours(300),
    "distribution v3": distribution,
    "docker-registry": docker_registry,
}


def _go_on(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return
