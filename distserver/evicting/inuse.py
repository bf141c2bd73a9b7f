"""Images that run somewhere: from the cluster, from a list; what was last known counts on."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from distserver.evicting.kubernetes import NotTold
from distserver.oci.digests import Digest
from distserver.oci.errors import DigestInvalid
from distserver.proxy.replace import replace

log = logging.getLogger(__name__)

REFRESH_SECONDS = 60.0
MAX_LIST_BYTES = 4 << 20
MAX_KNOWN_BYTES = 64 << 20

Source = Callable[[], Iterable[str]]
"""Returns references of images, as somebody calls them. Raises: NotTold."""
Canonical = Callable[[str], str | None]
"""Returns name:tag of a reference with the repository's name here; None if it has none."""


@dataclass(frozen=True, slots=True)
class Used:
    """What runs: names (name:tag, as here), and digests of indexes, manifests or configs."""

    names: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()


class InUse:
    """What runs, from several sources; one that cannot be asked keeps what it said last.

    path  file of the last known lists
    """

    def __init__(self, path: Path, sources: Mapping[str, Source], canonical: Canonical) -> None:
        self._path, self._sources, self._canonical = path, sources, canonical
        self._known: dict[str, list[str]] | None = None
        self._asked: float | None = None
        self._problems: dict[str, str] = {}
        self._used = Used()

    def now(self) -> Used:
        """Return what runs, as known within the last minute, or before that if need be.

        Raises: NotTold, if a source was never known: then nothing can be called unused.
        """
        if self._known is None:
            self._known = self._load()
        if self._asked is None or time.monotonic() - self._asked > REFRESH_SECONDS:
            self._refresh(self._known)
            self._asked = time.monotonic()
        for name in self._sources.keys() - self._known.keys():
            raise NotTold(f"what runs is not known: {name} was never read")
        return self._used

    def _refresh(self, known: dict[str, list[str]]) -> None:
        for name, source in self._sources.items():
            try:
                known[name] = sorted(set(source()))
            except NotTold as exc:
                if self._problems.get(name) != str(exc):
                    log.warning("what runs stays as last known: %s", exc)
                self._problems[name] = str(exc)
            else:
                self._problems.pop(name, None)
        texts = {text for name in self._sources for text in known.get(name, ())}
        self._used = self._parse(texts)
        self._save(known)

    def _parse(self, texts: Iterable[str]) -> Used:
        names, digests = set(), set()
        for text in texts:
            plain = text.rpartition("://")[2]  # docker-pullable://nginx@sha256:…
            if _is_digest(digest := plain.rpartition("@")[2]):
                digests.add(digest)
            if plain not in digests and (name := self._canonical(plain)):
                names.add(name)
        return Used(frozenset(names), frozenset(digests))

    def _load(self) -> dict[str, list[str]]:
        try:
            with self._path.open() as file:
                value = json.loads(file.read(MAX_KNOWN_BYTES))
            return {str(name): [str(text) for text in texts] for name, texts in value.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError) as exc:
            log.warning("what ran before is not known any more: %s", exc)
            return {}

    def _save(self, known: Mapping[str, list[str]]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace(self._path, json.dumps(known).encode())
        except OSError as exc:
            log.warning("what runs is not remembered: %s", exc)


def list_file(path: Path) -> Source:
    """Read a list: a reference a line, of at most MAX_LIST_BYTES; "#" begins a comment."""

    def read() -> list[str]:
        try:
            with path.open(errors="replace") as file:
                text = file.read(MAX_LIST_BYTES + 1)
        except OSError as exc:
            raise NotTold(f"{path}: {exc.strerror}") from exc
        if len(text) > MAX_LIST_BYTES:
            raise NotTold(f"{path}: more than {MAX_LIST_BYTES >> 20} MiB")
        lines = (line.partition("#")[0].strip() for line in text.splitlines())
        return [line for line in lines if line]

    return read


def _is_digest(text: str) -> bool:
    try:
        Digest.parse(text)
    except DigestInvalid:
        return False
    return True
