"""How images are named here, as the configuration has it."""

from __future__ import annotations

from distserver.bundle.errors import BundleError
from distserver.bundle.naming import Naming
from distserver.config import Config
from distserver.evicting.inuse import Canonical
from distserver.proxy.upstream.connect import upstreams_of

OWN_NAME = "distserver.internal"
"""A host that always means this server: the name of its own image begins with it."""


def own_names(config: Config) -> frozenset[str]:
    """The hosts that mean this server in images' names."""
    return frozenset(name.lower() for name in (*config.names, OWN_NAME))


def naming(config: Config, to: str = "") -> Naming:
    """Return how images are named here and outside. to: where `load` puts them, see Naming."""
    return Naming(upstreams_of(config), own_names(config), OWN_NAME, to)


def canonical_names(config: Config) -> Canonical:
    """Return what reads names of images as `load` does: name:tag here, or None."""
    names = naming(config)

    def canonical(text: str) -> str | None:
        try:
            image = names.image(text)
        except BundleError:
            return None
        return f"{image.name}:{image.tag}" if image.tag else None

    return canonical
