"""Pins: patterns of images that are never evicted, for all nodes of a storage."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby

from backends import Backend, read_all
from backends.errors import NotFound
from distserver.registry import layout
from distserver.registry.records import RecordStore, sort

MAX_PATTERN_BYTES = 512
_WILDCARDS = frozenset("*?[")


def is_pattern(text: str) -> bool:
    """Whether a text stands for more than itself."""
    return bool(_WILDCARDS & set(text))


@dataclass(frozen=True, slots=True)
class Pinned:
    """The pins as of now: texts that mean themselves, and patterns; "*" spans "/"."""

    exact: frozenset[str]
    patterns: tuple[str, ...]

    @classmethod
    def of(cls, texts: Collection[str]) -> Pinned:
        """Sort texts by what they are."""
        patterns = filter(is_pattern, texts)
        return cls(frozenset(t for t in texts if not is_pattern(t)), tuple(patterns))

    def holds(self, names: Iterable[str]) -> bool:
        """Whether one of an image's names, name:tag or name@digest, is pinned."""
        return any(
            name in self.exact or any(fnmatchcase(name, p) for p in self.patterns) for name in names
        )


class Pins:
    """The pins of a storage: a record each, that holds the pattern."""

    def __init__(self, backend: Backend, records: RecordStore) -> None:
        self._backend, self._records = backend, records

    def add(self, pattern: str) -> None:
        """Pin the images of a pattern of at most MAX_PATTERN_BYTES. Raises: Full, Unavailable."""
        prefix = layout.pin(pattern)
        if not self._records.read(prefix, settle=True).live:
            self._records.add(prefix, pattern.encode())

    def remove(self, pattern: str) -> bool:
        """Remove a pin; return whether there was one. Raises: Full, Unavailable."""
        return self._records.remove(layout.pin(pattern))

    def all(self) -> list[str]:
        """Return all patterns, sorted. Raises: Unavailable, Corrupt."""
        split = (
            key[len(layout.PINS) :].partition("/")
            for key in self._backend.keys(layout.PINS, settle=True)
        )
        found = []
        for directory, parts in groupby(split, key=lambda part: part[0]):
            for nonce in sort([part[2] for part in parts]).live[:1]:
                found += self._read(f"{layout.PINS}{directory}/{nonce}")
        return sorted(found)

    def _read(self, key: str) -> list[str]:
        try:
            return [read_all(self._backend, key, MAX_PATTERN_BYTES).decode(errors="replace")]
        except NotFound:  # collected at this moment, so it was removed before
            return []
