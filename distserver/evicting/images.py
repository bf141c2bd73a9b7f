"""Which images of upstreams a storage holds: what each has, and what it weighs.

An image is a manifest that is tagged, or no member of another one in its repository, with its
members, and with what refers to them: referrers, and what cosign keeps in tags.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from backends import read_all
from backends.errors import Corrupt, NotFound
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestInvalid, ManifestUnknown
from distserver.oci.manifests import MANIFESTS, parse_manifest
from distserver.oci.references import referrers_tag
from distserver.proxy.completion import signature_tags
from distserver.registry import Registry, layout
from distserver.registry.manifest_record import MAX_RECORD_BYTES, field
from distserver.registry.manifests import StoredManifest


@dataclass(frozen=True, slots=True)
class Links:
    """What a manifest names. members are manifests, blobs everything else that is kept here."""

    members: tuple[Digest, ...]
    blobs: tuple[Digest, ...]
    config: Digest | None
    subject: Digest | None


@dataclass(frozen=True, slots=True)
class Record:
    """A live record of a manifest: whether it was pulled, and when it came (wall clock)."""

    pulled: bool
    came: float


@dataclass(frozen=True, slots=True)
class Held:
    """A manifest of a repository.

    pulled   nobody ever pushed it here
    records  nonces of its live records
    """

    links: Links
    pulled: bool
    came: float
    records: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """An image that a repository holds.

    top        digest of the manifest that it is known by
    manifests  of all that goes with it, top included
    names      name:tag and name@digest of each of them
    """

    name: str
    top: Digest
    manifests: frozenset[Digest]
    names: frozenset[str]

    def __str__(self) -> str:
        return min((name for name in self.names if "@" not in name), default=self.reference)

    @property
    def reference(self) -> str:
        """name@digest."""
        return f"{self.name}@{self.top}"


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of an upstream, as of one look."""

    name: str
    held: Mapping[Digest, Held]
    tags: Mapping[str, Digest]
    beside: Mapping[Digest, frozenset[Digest]]

    def images(self) -> list[Image]:
        """Return its images."""
        attached = {digest for group in self.beside.values() for digest in group}
        named = {digest for digest in self.tags.values() if digest not in attached}
        members = {m for one in self.held.values() for m in one.links.members}
        tops = [d for d in self.held if d in named or d not in members | attached]
        return [self._image(top) for top in tops]

    def closure(self, digests: Iterable[Digest]) -> set[Digest]:
        """Return manifests with their members and all that refers to them."""
        found: set[Digest] = set()
        waiting = [digest for digest in digests if digest in self.held]
        while waiting:
            digest = waiting.pop()
            if digest not in found:
                found.add(digest)
                near = (*self.held[digest].links.members, *self.beside.get(digest, ()))
                waiting += [other for other in near if other in self.held]
        return found

    def _image(self, top: Digest) -> Image:
        manifests = frozenset(self.closure([top]))
        tags = {f"{self.name}:{tag}" for tag, digest in self.tags.items() if digest in manifests}
        names = tags | {f"{self.name}@{digest}" for digest in manifests}
        return Image(self.name, top, manifests, frozenset(names))


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found.

    sizes     bytes of what is stored of all that upstreams' repositories name
    mentions  how many manifests of them name each digest, or are it
    bytes     what was pulled takes in all
    """

    repositories: Mapping[str, Repository]
    sizes: Mapping[Digest, int]
    mentions: Counter[Digest]
    bytes: int


_NOTHING: Mapping[Digest, Links] = {}


class Looker:
    """Looks at a storage; what never changes is remembered from one look to the next.

    is_upstreams  tells of a repository's name whether it is one of an upstream
    """

    def __init__(self, registry: Registry, is_upstreams: Callable[[str], bool]) -> None:
        self._registry, self._is_upstreams = registry, is_upstreams
        self._links: dict[Digest, Links] = {}
        self._records: dict[str, Record] = {}
        self._sizes: dict[Digest, int] = {}

    def look(self) -> Look:
        """Look at all repositories of upstreams.

        Raises: StorageError; then nothing may be concluded. Blocks on: three listings a repository,
        and a read of what was not met before.
        """
        links, records = self._links, self._records
        self._links, self._records = {}, {}
        names = filter(self._is_upstreams, self._registry.catalog.names())
        found = {name: self._repository(name, links, records) for name in names}
        mentions: Counter[Digest] = Counter()
        pulled: set[Digest] = set()
        for digest, held in (item for each in found.values() for item in each.held.items()):
            named = {digest, *held.links.blobs}
            mentions.update(named)
            if held.pulled:
                pulled |= named
        self._sizes = {d: self._sizes.get(d) or self._size(d) for d in mentions}
        return Look(found, self._sizes, mentions, sum(self._sizes[d] for d in pulled))

    def _repository(
        self, name: str, links: Mapping[Digest, Links], records: Mapping[str, Record]
    ) -> Repository:
        held = {}
        tree = self._registry.records.read_tree(layout.manifests(name))
        for digest, found in tree.items():
            prefix = layout.manifest_records(name, digest)
            live = [self._record(prefix + nonce, records) for nonce in found.live]
            if live:
                pulled, came = all(r.pulled for r in live), max(r.came for r in live)
                held[digest] = Held(self.links(name, digest, links), pulled, came, found.live)
        tags = {str(tag): digest for tag, digest in self._registry.tags.all(name).items()}
        return Repository(name, held, tags, _beside(held, tags))

    def _record(self, key: str, known: Mapping[str, Record]) -> Record:
        if not (record := known.get(key)):
            backend = self._registry.backend
            data = read_all(backend, key, MAX_RECORD_BYTES)
            record = Record(field(data, "pulled") is True, backend.stat(key).modified)
        self._records[key] = record
        return record

    def links(self, name: str, digest: Digest, known: Mapping[Digest, Links] = _NOTHING) -> Links:
        """What a manifest names. Raises: StorageError, also where it cannot be understood."""
        if not (links := self._links.get(digest) or known.get(digest)):
            try:
                links = _links(self._registry.manifests.held(name, digest))
            except (ManifestUnknown, ManifestInvalid) as exc:
                raise Corrupt(f"{name}@{digest} cannot be read: {exc.message}") from exc
        self._links[digest] = links
        return links

    def _size(self, digest: Digest) -> int:
        try:
            return self._registry.backend.stat(layout.blob(digest)).size
        except NotFound:
            return 0


def _links(stored: StoredManifest) -> Links:
    manifest = parse_manifest(stored.data, stored.media_type)
    members = [child for child in manifest.children if child.media_type in MANIFESTS]
    others = [child for child in manifest.children if child.media_type not in MANIFESTS]
    return Links(
        tuple(member.digest for member in members),
        tuple(dict.fromkeys(each.digest for each in (*manifest.blobs, *others))),
        manifest.config.digest if manifest.config else None,
        manifest.subject.digest if manifest.subject else None,
    )


def _beside(
    held: Mapping[Digest, Held], tags: Mapping[str, Digest]
) -> dict[Digest, frozenset[Digest]]:
    """What is said of each held manifest: its referrers, and what such tags name as only these."""
    found: defaultdict[Digest, set[Digest]] = defaultdict(set)
    for digest, one in held.items():
        if one.links.subject in held and one.links.subject:
            found[one.links.subject].add(digest)
    said = {tag: subject for subject in held for tag in _tags_about(subject)}
    plain = {digest for tag, digest in tags.items() if tag not in said}
    for tag, digest in tags.items():
        if tag in said and digest not in plain:
            found[said[tag]].add(digest)
    return {subject: frozenset(digests) for subject, digests in found.items()}


def _tags_about(digest: Digest) -> Iterator[str]:
    yield referrers_tag(str(digest))
    yield from signature_tags(digest)
