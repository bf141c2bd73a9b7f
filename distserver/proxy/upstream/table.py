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

FOREVER = float("inf")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Upstream:
    """A registry that we fetch from.

    name             its canonical host[:port], as image names carry it
    family           such as *.pkg.dev, for a host that only this admits: anybody may name others
    urls             base URLs, tried in order
    hosts            hosts of ours under which every name means this upstream
    allow            patterns of its repositories that may be fetched; empty = all
    deny             patterns that may not, whatever allow says
    ttl_seconds      how long a tag counts as fresh; 0 = always ask, FOREVER = never again
    ttls             the same for patterns of repository:tag, or of a tag; the first that fits holds
    honour_deletes   a tag that is gone there goes here too
    signatures       referrers and cosign's tags of a pulled image are pulled with it
    max_fetches      blobs fetched at once
    max_bytes_per_second   0 = no limit
    """

    name: str
    urls: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    ttl_seconds: float = 300.0
    ttls: tuple[tuple[str, float], ...] = ()
    honour_deletes: bool = False
    signatures: bool = True
    max_fetches: int = 8
    max_bytes_per_second: int = 0
    family: str = ""

    @property
    def directory(self) -> str:
        """First component of its repositories' names here; a port is behind "_"."""
        return self.name.replace(":", "_")

    def allows(self, repository: str) -> bool:
        """Whether a repository of this upstream may be fetched; "*" in a pattern spans "/"."""
        if any(fnmatch.fnmatchcase(repository, pattern) for pattern in self.deny):
            return False
        return not self.allow or any(fnmatch.fnmatchcase(repository, p) for p in self.allow)

    def ttl_of(self, repository: str, tag: str) -> float:
        """How long a tag counts as fresh, in seconds."""
        for pattern, seconds in self.ttls:
            if fnmatch.fnmatchcase(f"{repository}:{tag}" if ":" in pattern else tag, pattern):
                return seconds
        return self.ttl_seconds


def label_of(host: str) -> str:
    """How an upstream is called where names must be few: a member of a family like the family."""
    family = host.partition(".")[2]
    return f"*.{family}" if family in FAMILIES else host


def base_url(host: str) -> str:
    """Where the registry of a host of image names is spoken to, unless something else is said."""
    return f"https://{'registry-1.docker.io' if host == DOCKER_HUB else host}"


@dataclass(frozen=True)
class Upstreams:
    """Finds the upstream that a host means.

    configured  replace built-in ones of that name
    policy      what the others have beside their name and URL
    """

    configured: Mapping[str, Upstream] = field(default_factory=dict)
    policy: Upstream = Upstream("", ())

    def find(self, host: str) -> Upstream | None:
        """Return the upstream of a host[:port] or of its spelling as a directory, else None.

        Case does not matter. A member of a family is an upstream of its own with the family's
        settings, if the configuration has a table for `*.<family>`.
        """
        host = ALIASES.get(host.lower(), host.lower())
        if "*" in host:
            return None
        if host in self.configured:
            return self.configured[host]
        if host == DOCKER_HUB or host in WELL_KNOWN:
            return replace(self.policy, name=host, urls=(base_url(host),))
        by_directory = _first(u for u in self.configured.values() if u.directory == host)
        return by_directory or self._member(host)

    def meant_under(self, host: str) -> Upstream | None:
        """Return the upstream that requests under a host of ours mean; None for most hosts."""
        return _first(u for u in self.configured.values() if host.lower() in u.hosts)

    def known(self) -> list[Upstream]:
        """Return the configured and the built-in ones; of families only what is configured."""
        built_in = (self.find(name) for name in (DOCKER_HUB, *WELL_KNOWN))
        found = {upstream.name: upstream for upstream in built_in if upstream}
        found |= {upstream.name: upstream for upstream in self.configured.values()}
        return [found[name] for name in sorted(found)]

    def of_repository(self, name: str) -> tuple[Upstream, str] | None:
        """Split a repository's name here into its upstream and its name there; None if local."""
        directory, _, rest = name.partition("/")
        upstream = self.find(directory) if rest else None
        return (upstream, rest) if upstream and upstream.directory == directory else None

    def _member(self, host: str) -> Upstream | None:
        label, _, family = host.partition(".")
        if family not in FAMILIES or not _LABEL.fullmatch(label):
            return None
        family = f"*.{family}"
        settings = self.configured.get(family, self.policy)
        return replace(settings, name=host, urls=(base_url(host),), family=family)


def _first(found: Iterable[Upstream]) -> Upstream | None:
    return next(iter(found), None)
