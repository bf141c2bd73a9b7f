"""Which upstreams there are: the well-known public registries, and those of the configuration.

A closed list: a host that is not on it is never dialled. Pure.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

DOCKER_HUB = "docker.io"
ALIASES = {"index.docker.io": DOCKER_HUB, "registry-1.docker.io": DOCKER_HUB}
WELL_KNOWN = (
    *("ghcr.io", "quay.io", "registry.k8s.io", "gcr.io", "mcr.microsoft.com", "public.ecr.aws"),
    *("registry.gitlab.com", "nvcr.io", "docker.elastic.co", "cgr.dev", "lscr.io", "icr.io"),
    *("registry.access.redhat.com", "registry.suse.com", "container-registry.oracle.com"),
)
FAMILIES = ("pkg.dev", "gcr.io")
"""Domains of which every host with one label more is an upstream: europe-docker.pkg.dev."""

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Upstream:
    """A registry that we fetch from.

    name   its canonical host[:port], as image names carry it
    urls   base URLs, tried in order
    allow  patterns of its repositories that may be fetched; empty = all
    deny   patterns that may not, whatever allow says
    """

    name: str
    urls: tuple[str, ...]
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    @property
    def directory(self) -> str:
        """First component of its repositories' names here; a port is behind "_"."""
        return self.name.replace(":", "_")

    def allows(self, repository: str) -> bool:
        """Whether a repository of this upstream may be fetched; "*" in a pattern spans "/"."""
        if any(fnmatch.fnmatchcase(repository, pattern) for pattern in self.deny):
            return False
        return not self.allow or any(fnmatch.fnmatchcase(repository, p) for p in self.allow)


def _built_in() -> dict[str, Upstream]:
    hub = Upstream(DOCKER_HUB, ("https://registry-1.docker.io",))
    return {hub.name: hub} | {name: Upstream(name, (f"https://{name}",)) for name in WELL_KNOWN}


@dataclass(frozen=True)
class Upstreams:
    """Finds the upstream that a host means; configured ones replace built-in ones of that name."""

    configured: Mapping[str, Upstream] = field(default_factory=dict)

    def find(self, host: str) -> Upstream | None:
        """Return the upstream of a host[:port] or of its spelling as a directory, else None.

        Case does not matter. A member of a family is an upstream of its own with the family's
        settings, if the configuration has a table for `*.<family>`.
        """
        host = host.lower()
        host = ALIASES.get(host, host)
        for upstream in (self.configured.get(host), _BUILT_IN.get(host)):
            if upstream:
                return upstream
        by_directory = _first(u for u in self.configured.values() if u.directory == host)
        return by_directory or self._member(host)

    def of_repository(self, name: str) -> tuple[Upstream, str] | None:
        """Split a repository's name here into its upstream and its name there; None if local."""
        directory, _, rest = name.partition("/")
        upstream = self.find(directory) if rest else None
        return (upstream, rest) if upstream and upstream.directory == directory else None

    def _member(self, host: str) -> Upstream | None:
        label, _, family = host.partition(".")
        if family not in FAMILIES or not _LABEL.fullmatch(label):
            return None
        own = Upstream(host, (f"https://{host}",))
        settings = self.configured.get(f"*.{family}")
        return replace(settings, name=host, urls=own.urls) if settings else own


_BUILT_IN = _built_in()


def _first(found: Iterable[Upstream]) -> Upstream | None:
    return next(iter(found), None)
