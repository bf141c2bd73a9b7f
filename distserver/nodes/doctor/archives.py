"""Which images the archives have that are imported at boot; they are looked into, not unpacked."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distserver.nodes.doctor.facts import FOLDERS
from distserver.nodes.node import Node

NAME = "io.containerd.image.name"
MAX_INDEX_BYTES = 4 << 20
PACKED = (".gz", ".tgz", ".zst", ".tzst", ".bz2", ".tbz", ".lz4")


@dataclass(frozen=True, slots=True)
class Archives:
    """The images that are imported at boot.

    names   as the archives have them
    packed  archives that are compressed, so that nobody looks into them here
    """

    names: frozenset[str]
    packed: tuple[str, ...]


def archives(node: Node) -> Archives:
    """Look through the folders of k3s, RKE2 and our unit. Raises: OSError."""
    found = [path for folder in FOLDERS for path in node.glob(folder, "*")]
    names = {name for path in found if path.endswith(".tar") for name in _names(node.path(path))}
    return Archives(frozenset(names), tuple(path for path in found if path.endswith(PACKED)))


def _names(path: Path) -> Iterator[str]:
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.name in ("manifest.json", "index.json") and member.isfile():
                    file = tar.extractfile(member)
                    document = json.loads(file.read(MAX_INDEX_BYTES)) if file else None
                    yield from _of_document(document)
    except (tarfile.TarError, ValueError):
        return  # what is no archive of images brings none


def _of_document(document: Any) -> Iterator[str]:
    """Names in docker's manifest.json, a list, or in the index of an OCI layout."""
    if isinstance(document, list):
        yield from (tag for one in document for tag in one.get("RepoTags") or ())
    elif isinstance(document, dict):
        for one in document.get("manifests", ()):
            yield (one.get("annotations") or {}).get(NAME, "")
