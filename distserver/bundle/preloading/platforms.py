"""Platforms: which are wanted, and which members of an index are for them. Pure."""

from __future__ import annotations

import platform
from collections.abc import Collection, Sequence

from distserver.bundle.lock import ALL
from distserver.oci.manifests import Descriptor, Manifest
from distserver.proxy.completion import members

ATTESTED = "vnd.docker.reference.digest"
"""Annotation by which BuildKit's attestations name the member of an index that they speak of."""
_MACHINES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm/v7",
    "armv6l": "arm/v6",
    "i686": "386",
}


def machine_platform() -> str:
    """Return the platform of this machine, such as linux/amd64."""
    machine = platform.machine()
    return f"linux/{_MACHINES.get(machine, machine)}"


def parse_platforms(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the platforms of a command line, each once; empty = all. Raises: ValueError."""
    given = tuple(dict.fromkeys(part for text in texts for part in text.lower().split(",") if part))
    if ALL in given:
        if len(given) > 1:
            raise ValueError(f"{ALL} stands alone")
        return ()
    for text in given:
        if text.count("/") not in (1, 2) or "" in text.split("/"):
            raise ValueError(f"{text!r} is not os/architecture[/variant], such as linux/arm64")
    if not given:
        raise ValueError("no platform is named")
    return given


def lacking_platforms(manifest: Manifest, platforms: Collection[str]) -> list[str]:
    """Return which platforms an index lacks; one that names none, or a single image, lacks none."""
    if not any(child.platform for child in manifest.children):
        return []
    return [platform for platform in platforms if not members(manifest, [platform])]


def wanted_children(manifest: Manifest, platforms: Collection[str]) -> list[Descriptor]:
    """Return the members of an index for some platforms, with what attests them; empty = all.

    A member that names no platform is wanted by everybody.
    """
    if not platforms:
        return list(manifest.children)
    chosen = {str(child.digest) for child in members(manifest, platforms)}
    return [
        child
        for child in manifest.children
        if not child.platform
        or str(child.digest) in chosen
        or child.annotations.get(ATTESTED) in chosen
    ]


def which_there_are(manifest: Manifest) -> list[str]:
    """Return the platforms of an index, for people."""
    found = set()
    for child in manifest.children:
        said = child.platform or {}
        words = [said.get("os"), said.get("architecture"), said.get("variant")]
        if said and words[0] != "unknown":
            found.add("/".join(str(word) for word in words if word))
    return sorted(found)
