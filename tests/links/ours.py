"""Our server before one upstream or several, as an operator sets it up: by its TOML file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.live import Server, running, start_server


@dataclass
class Ours:
    """A server that a test may end and start again; `server` is the one that runs now."""

    server: Server

    @property
    def host(self) -> str:
        """HOST:PORT; the same after a restart."""
        return self.server.host

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self.server.directory / "state"

    def partial(self, digest: str) -> Path | None:
        """The directory of a blob on its way, if it is on its way."""
        name = digest.replace(":", "-")
        return next((self.state / "partial").glob(f"*/{name}"), None)

    def stop_and_start(self) -> None:
        """End it by SIGTERM, which must go well, and start it again."""
        assert self.server.stop() == 0
        self.server = self.server.restart()

    def kill_and_start(self) -> None:
        """Kill -9 all its processes, and start it again."""
        self.server.kill()
        self.server = self.server.restart()


def table(host: str, url: str, more: str = "") -> str:
    """A table of the configuration: an upstream of plain HTTP; more = further lines."""
    return f'[upstream."{host}"]\nurl = ["{url}"]\ninsecure = true\n{more}\n'


@contextmanager
def ours(
    directory: Path,
    tables: str,
    *arguments: str,
    env: dict[str, str] | None = None,
    storage: Path | None = None,
) -> Iterator[Ours]:
    """Run a server with two workers and these tables of upstreams; it has to end well.

    arguments  more of the command `serve`
    """
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "config.toml"
    file.write_text(tables)
    environ = {"DISTSERVER_CONFIG": str(file), **(env or {})}
    lent = Ours(start_server(directory, "--workers", "2", *arguments, env=environ, storage=storage))
    try:
        yield lent
        with running(lent.server):
            pass
    finally:
        lent.server.kill()
