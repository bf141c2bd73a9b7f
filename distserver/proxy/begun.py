"""Images whose completion was begun: remembered in the state directory until they are whole.

A process that dies, or a link that drops, leaves its images here for whoever completes next.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from distserver.oci.digests import Digest
from distserver.oci.errors import DigestInvalid
from distserver.oci.manifests import Manifest
from distserver.proxy.replace import replace

log = logging.getLogger(__name__)

MAX_AGE_SECONDS = 30 * 86400.0
MAX_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Task:
    """An image to complete.

    sizes       bytes by digest of what its manifest names
    signatures  whether what is said of it by others shall come too
    since       wall-clock time when it was begun
    """

    name: str
    digest: str
    sizes: dict[str, int]
    signatures: bool
    since: float


class Begun:
    """The tasks of a node, one file each. A state directory that is full or away remembers none."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def add(self, name: str, digest: Digest, manifest: Manifest, signatures: bool) -> None:
        """Remember an image until it is removed."""
        path = self._path(name, str(digest))
        if path.exists():
            return
        sizes = {str(blob.digest): blob.size for blob in manifest.blobs}
        task = Task(name, str(digest), sizes, signatures, time.time())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, json.dumps(asdict(task)).encode())
        except OSError as exc:
            log.warning("%s@%s is not completed in the background: %s", name, digest, exc)

    def remove(self, name: str, digest: Digest) -> None:
        """Forget an image: it is whole."""
        try:
            self._path(name, str(digest)).unlink(missing_ok=True)
        except OSError as exc:
            log.warning("%s@%s is looked at again in the background: %s", name, digest, exc)

    def paths(self) -> list[Path]:
        """Return the tasks' files, those of one repository together. Raises: OSError."""
        return sorted(self.directory.glob("*/*/*.json"))

    def read(self, path: Path) -> Task | None:
        """Read a task; None for one that is gone, damaged, or too old. Raises: OSError."""
        task = _read(path)
        return task if task and time.time() - task.since < MAX_AGE_SECONDS else None

    def size_of(self, name: str, digest: Digest) -> int | None:
        """What the begun manifests of a repository say of a blob's size; None = nothing."""
        try:
            tasks = filter(None, map(_read, self._path(name, "").parent.glob("*.json")))
            return next((t.sizes[str(digest)] for t in tasks if str(digest) in t.sizes), None)
        except OSError as exc:
            log.warning("what is said of the size of %s cannot be read: %s", digest, exc)
            return None

    def _path(self, name: str, digest: str) -> Path:
        repository = hashlib.sha256(name.encode()).hexdigest()[:32]
        upstream = self.directory / name.partition("/")[0]
        return upstream / repository / f"{digest.replace(':', '-')}.json"


def upstream_of(path: Path) -> str:
    """Return the directory of the upstream that a task's file belongs to."""
    return path.parent.parent.name


def _read(path: Path) -> Task | None:
    """Read a task; None for what is gone or damaged.

    Raises: OSError; the task may be good, and is read again later.
    """
    try:
        with path.open() as file:
            task = Task(**json.loads(file.read(MAX_BYTES)))
        Digest.parse(task.digest)
    except (FileNotFoundError, ValueError, TypeError, DigestInvalid):
        return None
    return task
