"""Real registries for upstreams: docker-registry, and distribution v3, the command `registry`."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.components.require import require
from tests.live import START_SECONDS, STOP_SECONDS, wait_for

_CONFIGURATION = """\
version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: "{root}"}}}}
http: {{addr: "127.0.0.1:0"}}
"""
_LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)")


@dataclass(frozen=True)
class Registry:
    """A running registry on loopback, plain HTTP, open to everybody."""

    port: int

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to connect to."""
        return "127.0.0.1", self.port

    @property
    def host(self) -> str:
        """HOST:PORT, as image names carry it."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """http://HOST:PORT."""
        return f"http://{self.host}"


@contextmanager
def registry(directory: Path, command: str = "docker-registry") -> Iterator[Registry]:
    """Run a registry that keeps its content in a directory; it is made if need be."""
    directory.mkdir(parents=True, exist_ok=True)
    config, log = directory / "config.yml", directory / "log"
    config.write_text(_CONFIGURATION.format(root=directory / "root"))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [require(command), "serve", str(config)], stdout=output, stderr=output
        )
    try:
        found = wait_for(lambda: _listening(process, log), START_SECONDS, command)
        yield Registry(int(found[1]))
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _listening(process: subprocess.Popen[bytes], log: Path) -> re.Match[str] | None:
    text = log.read_text(errors="replace")
    if process.poll() is not None:
        raise RuntimeError(f"the registry ended with {process.returncode}:\n{text}")
    return _LISTENING.search(text)
