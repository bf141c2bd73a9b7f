"""An image as people, lists and archives name it, and the name of its repository here. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from distserver.oci.digests import Digest
from distserver.oci.errors import NameInvalid
from distserver.oci.names import Tag, parse_name, parse_tag
from distserver.oci.references import Reference
from distserver.proxy.namespaces import name_here
from distserver.proxy.upstream.table import DOCKER_HUB, Upstreams


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is wanted.

    name    its repository here: "docker.io/library/nginx"
    tag     None = it has only a digest
    digest  None = whatever the tag means now
    """

    name: str
    tag: Tag | None = None
    digest: Digest | None = None

    @property
    def reference(self) -> Reference:
        """What to ask for: the digest where there is one."""
        return self.digest or self.tag or Tag("latest")

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + self._pinned

    @property
    def _pinned(self) -> str:
        return f"@{self.digest}" if self.digest else ""


def parse_image(text: str, upstreams: Upstreams, own: frozenset[str] = frozenset()) -> Image:
    """Read HOST/NAME[:TAG][@DIGEST]; without a host it means Docker Hub, as docker has it.

        own  host[:port] that mean this server: their repositories are local
    Without tag and digest the tag is "latest". Raises: NameInvalid, TagInvalid, DigestInvalid.
    """
    named, _, digest = text.partition("@")
    path, _, tag = named.rpartition(":") if ":" in named.rpartition("/")[2] else (named, "", "")
    host, _, rest = path.partition("/")
    if not rest or not (is_host(host) or upstreams.find(host)):
        host, rest = DOCKER_HUB, path
    return Image(
        _here(host, rest, upstreams, own),
        parse_tag(tag or "latest") if tag or not digest else None,
        Digest.parse(digest) if digest else None,
    )


def is_host(component: str) -> bool:
    """Whether the first component of a name is a host. Docker's rule: a dot, a port, localhost."""
    return "." in component or ":" in component or component == "localhost"


def _here(host: str, path: str, upstreams: Upstreams, own: frozenset[str]) -> str:
    if host.lower() in own or upstreams.find(host):
        return parse_name(name_here(upstreams, own, path, host))
    raise NameInvalid("no upstream of this name is configured", f"{host}/{path}")
