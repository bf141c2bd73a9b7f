"""Where images of archives go, and what images from here are called elsewhere. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from distserver.bundle.errors import BundleError, shown
from distserver.bundle.images import Image, split_host, split_image
from distserver.oci.errors import RegistryError
from distserver.oci.names import Tag, parse_name, parse_tag
from distserver.proxy.namespaces import name_here
from distserver.proxy.upstream.table import Upstreams


@dataclass(frozen=True, slots=True)
class Naming:
    """Names of repositories, here and outside.

    own   host[:port] that mean this server
    home  the one of them under which local repositories leave for elsewhere
    to    what `--as` says: "" = names stay, "PREFIX/" = before them, NAME[:TAG] = instead
    """

    upstreams: Upstreams
    own: frozenset[str]
    home: str
    to: str = ""

    def image(self, text: str) -> Image:
        """Return where an image goes that an archive calls HOST/NAME[:TAG][@DIGEST].

        Without a host it is Docker Hub's. A host that is no upstream stays in front of the name.
        Raises: BundleError.
        """
        try:
            path, tag, digest = split_image(text)
            name = self._moved(self._at(*split_host(path)))
            return Image(name, self._given[1] or tag if self.renames else tag, digest)
        except RegistryError as exc:
            raise _bad(text, exc) from exc

    def repository(self, name: str) -> str:
        """Return where a repository goes that a registry calls so. Raises: BundleError."""
        try:
            return self._moved(self._here(name))
        except RegistryError as exc:
            raise _bad(name, exc) from exc

    def unnamed(self, tag: str, alone: bool) -> Image:
        """Return where an image goes that has no name, and a tag at most.

        alone  whether it is the only one in its archive, so that it can be the latest
        Raises: BundleError without `--as NAME`.
        """
        if not self.renames:
            raise BundleError("it does not name its images: say --as NAME")
        try:
            meant = parse_tag(tag) if tag else Tag("latest") if alone else None
        except RegistryError as exc:
            raise _bad(tag, exc) from exc
        name, given = self._given
        return Image(name, given if given and (tag or alone) else meant)

    def is_pulled(self, name: str) -> bool:
        """Whether a repository here is one of an upstream, so that its tags follow that."""
        return self.upstreams.of_repository(name) is not None

    def outside(self, name: str) -> str:
        """Return the full name of a repository here, host first, as nodes know it."""
        if found := self.upstreams.of_repository(name):
            return f"{found[0].name}/{found[1]}"
        return name if "." in name.partition("/")[0] else f"{self.home}/{name}"

    @property
    def _given(self) -> tuple[str, Tag | None]:
        """Repository and tag of `--as NAME[:TAG]`."""
        try:
            path, tag, _ = split_image(self.to)
            return self._here(path), tag if self.to != path else None
        except RegistryError as exc:
            raise _bad(self.to, exc) from exc

    def _moved(self, name: str) -> str:
        if self.renames:
            return self._given[0]
        if not self.to:
            return name
        host, _, path = name.partition("/")
        return self._here(self.to + (path if "." in host and path else name))

    @property
    def renames(self) -> bool:
        """Whether `--as` gives one name for all."""
        return bool(self.to) and not self.to.endswith("/")

    def _here(self, name: str) -> str:
        """The name here of what a client asks this server for by this name."""
        host, _, rest = name.partition("/")
        if rest and (host.lower() in self.own or ":" in host):
            return self._at(host, rest)
        return parse_name(name_here(self.upstreams, self.own, name, None))

    def _at(self, host: str, path: str) -> str:
        if host.lower() in self.own or self.upstreams.find(host):
            return parse_name(name_here(self.upstreams, self.own, path, host))
        return parse_name(f"{host.lower().replace(':', '_')}/{path}")


def _bad(text: str, error: RegistryError) -> BundleError:
    return BundleError(f"{shown(text) or 'an empty name'}: {error.message}")
