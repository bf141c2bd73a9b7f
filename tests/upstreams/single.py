"""One upstream behind a fault proxy, and a server of ours before it: for tests of one thing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.live import Server, running, start_server
from tests.upstreams.images import make, push
from tests.upstreams.proxy import FaultProxy, fault_proxy
from tests.upstreams.registries import Registry, registry
from tests.upstreams.site import Place

NAME = "up.site"
ALWAYS_ASK = {"DISTSERVER_TAG_TTL_SECONDS": "0"}


@dataclass(frozen=True)
class Single:
    """registry → proxy → ours."""

    ours: Server
    proxy: FaultProxy
    registry: Registry

    def image(self, repository: str, size: int) -> Place:
        """Push an image of about size bytes to the upstream."""
        image = make(repository, size)
        push(image, self.registry.url, repository)
        return Place(NAME, repository, image)


def table(name: str, url: str, *more: str) -> str:
    """A table of our server's configuration for an upstream with plain HTTP."""
    return "\n".join((f'[upstream."{name}"]', f'url = ["{url}"]', "insecure = true", *more, ""))


@contextmanager
def single(
    directory: Path, env: Mapping[str, str] = ALWAYS_ASK, command: str = "registry"
) -> Iterator[Single]:
    """Run the three.

    env      of our server
    command  of the upstream registry
    """
    config = directory / "config.toml"
    with (
        registry(directory / "upstream", command) as upstream,
        fault_proxy(upstream.address) as proxy,
    ):
        config.write_text(table(NAME, proxy.url))
        arguments = ("--workers", "2", "--config", str(config))
        ours = start_server(directory / "ours", *arguments, env=env)
        with running(ours):
            yield Single(ours, proxy, upstream)
