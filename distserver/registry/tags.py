"""Tags: append-only lists of versions, the newest of which has the smallest name.

A version's name is `<2^64-1-counter, 16 hex>-<nonce>-<record nonce>-<alg>-<hex>`, or
`<16 hex>-<nonce>-deleted`. It counts only while the record that it names is live:
a removed record means that the tag is absent; one that has not arrived yet, or whose content has
not, leaves the version before it in force. Two writers with one counter are concurrent; the nonce
decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from backends import Backend, put
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestUnknown, NotArrived
from distserver.oci.names import Tag
from distserver.registry import layout
from distserver.registry.cache import ValidatedCache
from distserver.registry.records import Records, RecordStore, new_nonce

HISTORY = 20
"""Versions of a tag that are kept."""
CACHE_BYTES = 8 << 20
PUSHED, PULLED = "0123456789abcde", "f"
"""First digit of a version's nonce: which of two concurrent ones is in force."""
_TOP = 2**64 - 1
_VERSION = re.compile(
    r"([0-9a-f]{16})-([0-9a-f]{16})-(?:deleted|([0-9a-f]{16})-(sha256|sha512)-([0-9a-f]{64,128}))"
)
_NONE = Records((), frozenset())
Arrived = Callable[[Digest, str], bool]
"""Tells of a manifest and its record whether all that a pull needs has arrived."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a tag; record and digest are None for a deletion."""

    counter: int
    nonce: str
    record: str | None = None
    digest: Digest | None = None

    def __str__(self) -> str:
        end = (
            f"{self.record}-{self.digest.algorithm}-{self.digest.hex}" if self.digest else "deleted"
        )
        return f"{_TOP - self.counter:016x}-{self.nonce}-{end}"

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """Read a version's name; None for anything else that lies in the directory."""
        match = _VERSION.fullmatch(text)
        if not match:
            return None
        digest = Digest(match[4], match[5]) if match[4] else None
        return cls(_TOP - int(match[1], 16), match[2], match[3], digest)

    @property
    def pushed(self) -> bool:
        """Whether a user pushed it, rather than an upstream said so."""
        return self.nonce[0] in PUSHED


@dataclass(frozen=True, slots=True)
class Current:
    """What a tag names now; stale when a newer version waits for its manifest to arrive."""

    digest: Digest
    record: str
    stale: bool


def _anything(digest: Digest, record: str) -> bool:
    return True


def choose(
    versions: Iterable[Version],
    known: Callable[[Digest], Records],
    arrived: Arrived = _anything,
) -> Current | None:
    """Choose the version in force from versions, newest first.

    known  tells the records of a manifest in the same repository
    """
    stale = False
    for version in versions:
        if version.digest is None or version.record is None:
            return None
        records = known(version.digest)
        if version.record in records.live and arrived(version.digest, version.record):
            return Current(version.digest, version.record, stale)
        if version.record in records.gone:
            return None
        stale = True
    return None


class Tags:
    """What end-8 and end-9 ask, and what manifests by tag stand on."""

    def __init__(self, backend: Backend, records: RecordStore) -> None:
        self._backend = backend
        self._records = records
        self._cache: ValidatedCache[list[Version]] = ValidatedCache(backend, CACHE_BYTES)

    def resolve(self, name: str, tag: Tag, arrived: Arrived | None = None) -> Current:
        """Return what the tag names; with arrived, what has arrived of it.

        Raises: ManifestUnknown, NotArrived (it was pushed, and no version of it has arrived),
        Unavailable.
        """
        versions = self._versions(name, tag)
        current = self._current(name, versions, arrived or _anything)
        if current is None:
            detail = {"tag": str(tag)}
            if arrived and versions and versions[0].pushed and self._counts(name, versions[0]):
                raise NotArrived(detail=detail)
            raise ManifestUnknown(detail=detail)
        return current

    def newest(self, name: str, tag: Tag) -> list[Digest]:
        """Return what the newest version names, here or not; [] for a deletion, or no version.

        Raises: Unavailable.
        """
        return [v.digest for v in self._versions(name, tag)[:1] if v.digest]

    def put(self, name: str, tag: Tag, digest: Digest, record: str) -> None:
        """Let the tag name a manifest by one of its live records; nothing is written if it does.

        Raises: Full, Unavailable.
        """
        versions = self._versions(name, tag)
        self._put(name, tag, versions, Version(0, new_nonce(PUSHED), record, digest))

    def follow(
        self,
        name: str,
        tag: Tag,
        digest: Digest,
        record: str,
        may_replace: Callable[[Current], bool],
    ) -> None:
        """As put, for what an upstream says, if what the tag names now may be replaced.

        A push at the same time wins: of two versions with one counter the smaller nonce is in
        force, and pushes have smaller ones. So does one that has not arrived here yet.

        Raises: Full, Unavailable.
        """
        versions = self._versions(name, tag)
        current = self._current(name, versions)
        if versions and versions[0].pushed and self._is_absent(name, versions[0]):
            return
        if current is None or may_replace(current):
            self._put(name, tag, versions, Version(0, new_nonce(PULLED), record, digest))

    def unfollow(self, name: str, tag: Tag, may_delete: Callable[[Current], bool]) -> None:
        """Delete the tag because its upstream did, if what it names now may be deleted.

        A push at the same time wins, as with follow. Raises: Full, Unavailable.
        """
        versions = self._versions(name, tag)
        current = self._current(name, versions)
        if current and may_delete(current):
            self._write(name, tag, versions, Version(0, new_nonce(PULLED)))

    def delete(self, name: str, tag: Tag) -> None:
        """Delete the tag, not what it names. Spec: end-9.

        Raises: ManifestUnknown, Full, Unavailable.
        """
        versions = self._versions(name, tag)
        if self._current(name, versions) is None:
            raise ManifestUnknown(detail={"tag": str(tag)})
        self._write(name, tag, versions, Version(0, new_nonce(PUSHED)))

    def names(self, name: str) -> set[Tag]:
        """Return the names of all tags of a repository. Raises: Unavailable. Spec: end-8."""
        return set(self.all(name))

    def all(self, name: str) -> dict[Tag, Digest]:
        """Return all tags of a repository with their digests. Raises: Unavailable. Spec: end-8."""
        return {tag: current.digest for tag, _, current in self._each(name) if current}

    def waiting(self, name: str) -> dict[Tag, Digest]:
        """Return the tags whose newest version names a manifest that has not arrived, or is lost.

        Raises: Unavailable.
        """
        return {
            tag: newest.digest
            for tag, newest, current in self._each(name)
            if newest.digest and (current.stale if current else self._is_absent(name, newest))
        }

    def _counts(self, name: str, version: Version) -> bool:
        """Whether it names a manifest whose record was not removed."""
        if version.digest is None:
            return False
        records = self._records.read(layout.manifest_records(name, version.digest), settle=True)
        return version.record not in records.gone

    def _is_absent(self, name: str, version: Version) -> bool:
        if version.digest is None:
            return False
        records = self._records.read(layout.manifest_records(name, version.digest), settle=True)
        return version.record not in records.gone and version.record not in records.live

    def _each(self, name: str) -> Iterator[tuple[Tag, Version, Current | None]]:
        """Yield each tag that has a version, its newest version and what it names now."""
        manifests = self._records.read_tree(layout.manifests(name))
        prefix = layout.tags(name)
        split = (
            key[len(prefix) :].partition("/") for key in self._backend.keys(prefix, settle=True)
        )
        for directory, parts in groupby(split, key=lambda part: part[0]):
            tag = layout.tag_of_directory(directory)
            versions = list(filter(None, [Version.parse(part[2]) for part in parts]))
            if tag and versions:
                yield tag, versions[0], choose(versions, lambda d: manifests.get(d, _NONE))

    def _versions(self, name: str, tag: Tag) -> list[Version]:
        prefix = layout.tag(name, tag)

        def load() -> list[Version]:
            names = (key[len(prefix) :] for key in self._backend.keys(prefix, settle=True))
            return [version for version in map(Version.parse, names) if version]

        return self._cache.get((name, tag), (prefix,), load)

    def _current(
        self, name: str, versions: list[Version], arrived: Arrived = _anything
    ) -> Current | None:
        return choose(
            versions,
            lambda digest: self._records.read(layout.manifest_records(name, digest), settle=True),
            arrived,
        )

    def _put(self, name: str, tag: Tag, versions: list[Version], new: Version) -> None:
        current = self._current(name, versions)
        same = current and (current.digest, current.record) == (new.digest, new.record)
        if not same or (current and current.stale):
            self._write(name, tag, versions, new)

    def _write(self, name: str, tag: Tag, versions: list[Version], new: Version) -> None:
        """Add a version with the next counter, and prune what is too old."""
        counter = versions[0].counter + 1 if versions else 1
        prefix = layout.tag(name, tag)
        put(self._backend, f"{prefix}{replace(new, counter=counter)}", b"")
        for old in versions[HISTORY - 1 :]:
            self._backend.delete(f"{prefix}{old}")
