"""From a repository's name here to its upstream: who may be asked, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from distserver.oci.digests import Digest
from distserver.oci.errors import Denied, RegistryError, ServiceUnavailable
from distserver.proxy.breaker import Breaker
from distserver.proxy.flights import Wanted
from distserver.proxy.upstream_errors import (
    UpstreamAbsent,
    UpstreamError,
    UpstreamRefused,
    UpstreamUnavailable,
)
from distserver.proxy.upstream_registry import UpstreamRegistry
from distserver.proxy.upstreams import Upstream, Upstreams

T = TypeVar("T")
Connect = Callable[[Upstream], UpstreamRegistry]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a repository comes from; repository is its name there."""

    upstream: Upstream
    repository: str
    registry: UpstreamRegistry
    breaker: Breaker
    state: Path

    def ask(self, question: Callable[[UpstreamRegistry], T]) -> T:
        """Ask the upstream unless its breaker is open, and note how it went.

        Raises: UpstreamError.
        """
        if not self.breaker.allows():
            known = self.breaker.state().error
            raise UpstreamUnavailable(f"not asked again yet; last time: {known}")
        try:
            answer = question(self.registry)
        except (UpstreamAbsent, UpstreamRefused):
            self.breaker.succeeded()
            raise
        except UpstreamUnavailable as exc:
            self.breaker.failed(exc.reason, exc.retry_after)
            raise
        self.breaker.succeeded()
        return answer

    def wanted(self, digest: Digest) -> Wanted:
        """The flight of one of its blobs."""
        directory = (
            self.state / "partial" / self.upstream.directory / f"{digest.algorithm}-{digest.hex}"
        )
        return Wanted(
            digest,
            directory,
            lambda start: self.ask(lambda r: r.blob(self.repository, digest, start)),
        )


class Sources:
    """The sources of a node. Upstreams are connected to when they are first asked."""

    def __init__(self, upstreams: Upstreams, connect: Connect, state: Path) -> None:
        self._upstreams, self._connect, self._state = upstreams, connect, state
        self._known: dict[str, tuple[UpstreamRegistry, Breaker]] = {}

    def of(self, name: str) -> Source | None:
        """Return the source of a repository; None for one of our own, or one not allowed."""
        found = self._upstreams.of_repository(name)
        if found is None or not found[0].allows(found[1]):
            return None
        upstream, repository = found
        if upstream.name not in self._known:
            path = self._state / "upstreams" / f"{upstream.directory}.json"
            self._known[upstream.name] = self._connect(upstream), Breaker(path)
        registry, breaker = self._known[upstream.name]
        return Source(upstream, repository, registry, breaker, self._state)


def told(error: UpstreamError, absent: RegistryError) -> RegistryError:
    """What a client is told: absent only for a real 404."""
    if isinstance(error, UpstreamAbsent):
        return absent
    if isinstance(error, UpstreamRefused):
        return Denied(error.reason)
    seconds = getattr(error, "retry_after", None)
    headers: Mapping[str, str] = {"Retry-After": str(int(min(max(seconds or 5, 5), 30)))}
    return ServiceUnavailable(f"not held here, and {error.reason}", headers=headers)
