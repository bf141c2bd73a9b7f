"""The key layout, drawn once: every key that a registry reads or writes is made here.

    blobs/<alg>/<2 hex>/<hex>                              bytes of blobs and manifests alike
    chunks/<alg>/<2 hex>/<hex>                             SHA-256 of each 1 MiB of a larger entry
    repositories/<name>/_blobs/<alg>/<hex>/<nonce>         this repository may read that blob
    repositories/<name>/_manifests/<alg>/<hex>/<nonce>     this repository has that manifest
    repositories/<name>/_tags/<tag>/<version>              see tags.Version
    repositories/<name>/_referrers/<alg>/<hex>/<alg>-<hex> subject -> referrer, a hint
    repositories/<name>/_uploads/<session>/_open           the session exists
    repositories/<name>/_uploads/<session>/<piece>         one a PATCH body, see uploads.Piece
    catalog/<name>/_name                                   the repository exists, a hint
    hints/damaged/<alg>-<hex>                              that copy was found damaged
    trash/<alg>/<2 hex>/<hex>-<run>                        what a run of the collector took
    gc/<run>/begun, gc/<run>/moved, gc/census, gc/lease    the collector's own, see gc.runs
    deny/<alg>-<hex>                                       purged for ever, see denied
    trash/damaged/<alg>-<hex>-<nonce>                      a damaged copy that was replaced
    hints/pulls/<node>/<time>                              when images were last pulled there
    pins/<sha256>/<nonce>                                  images that are never evicted

Names of repositories have no component that begins with "_", so no key is a parent of another.
Pure: no I/O.
"""

from __future__ import annotations

import hashlib
import re

from distserver.oci.digests import Digest
from distserver.oci.errors import DigestInvalid
from distserver.oci.names import Tag

REPOSITORIES = "repositories/"
CATALOG = "catalog/"
BLOBS = "blobs/"
DAMAGED = "hints/damaged/"
TRASH = "trash/"
GC = "gc/"
DENY = "deny/"
PULLS = "hints/pulls/"
PINS = "pins/"
OPEN = "_open"


def blob(digest: Digest) -> str:
    """Key of the bytes with this digest."""
    return f"blobs/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"


def digest_of_blob(key: str) -> Digest | None:
    """The digest that a key under BLOBS names; None for what is not ours."""
    _, algorithm, _, digits = key.split("/") if key.count("/") == 3 else ("", "", "", "")
    try:
        digest = Digest.parse(f"{algorithm}:{digits}")
    except DigestInvalid:
        return None
    return digest if blob(digest) == key else None


def trash(digest: Digest, run: str = "") -> str:
    """Key under which a run keeps what it took; without a run what all such keys begin with."""
    return f"{TRASH}{digest.algorithm}/{digest.hex[:2]}/{digest.hex}-{run}"


def chunks(digest: Digest) -> str:
    """Key of the chunk hashes of the bytes with this digest."""
    return f"chunks/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"


def blob_records(name: str, digest: Digest) -> str:
    """Prefix of the records that allow a repository to read a blob."""
    return f"{REPOSITORIES}{name}/_blobs/{digest.algorithm}/{digest.hex}/"


def all_blob_records(name: str) -> str:
    """Prefix of the blob records of a repository."""
    return f"{REPOSITORIES}{name}/_blobs/"


def manifests(name: str) -> str:
    """Prefix of all manifest records of a repository."""
    return f"{REPOSITORIES}{name}/_manifests/"


def manifest_records(name: str, digest: Digest) -> str:
    """Prefix of the records of one manifest in a repository."""
    return f"{manifests(name)}{digest.algorithm}/{digest.hex}/"


def tags(name: str) -> str:
    """Prefix of all tags of a repository."""
    return f"{REPOSITORIES}{name}/_tags/"


def tag(name: str, tag: Tag) -> str:
    """Prefix of the versions of one tag."""
    return f"{tags(name)}{tag_directory(tag)}/"


def referrers(name: str, subject: Digest) -> str:
    """Prefix of the hints who refers to a subject."""
    return f"{REPOSITORIES}{name}/_referrers/{subject.algorithm}/{subject.hex}/"


def referrer(name: str, subject: Digest, digest: Digest) -> str:
    """Key of the hint that a manifest refers to a subject."""
    return f"{referrers(name, subject)}{digest.algorithm}-{digest.hex}"


def uploads(name: str) -> str:
    """Prefix of all upload sessions of a repository."""
    return f"{REPOSITORIES}{name}/_uploads/"


def upload(name: str, session: str) -> str:
    """Prefix of one upload session."""
    return f"{uploads(name)}{session}/"


def catalog(name: str) -> str:
    """Key of the hint that a repository exists."""
    return f"{CATALOG}{name}/_name"


def damaged(digest: Digest) -> str:
    """Key of the mark that the stored copy was found damaged."""
    return f"{DAMAGED}{digest.algorithm}-{digest.hex}"


def damaged_digest(key: str) -> Digest | None:
    """Undo damaged; None for what is no mark of ours."""
    return _undashed(key.removeprefix(DAMAGED))


def denied(digest: Digest) -> str:
    """Key of the entry that denies content for ever."""
    return f"{DENY}{digest.algorithm}-{digest.hex}"


def denied_digest(key: str) -> Digest | None:
    """Undo denied; None for what is no entry of ours."""
    return _undashed(key.removeprefix(DENY))


def in_trash(digest: Digest) -> tuple[str, str]:
    """What the keys of copies begin with that were taken out of blobs/."""
    return (
        trash(digest),
        f"trash/damaged/{digest.algorithm}-{digest.hex}-",
    )


def pulls(node: str, when: int) -> str:
    """Key of what a node said at a time, in whole seconds, of its last pulls."""
    return f"{PULLS}{node}/{when:016x}"


def pin(pattern: str) -> str:
    """Prefix of the records that pin the images of a pattern."""
    return f"{PINS}{hashlib.sha256(pattern.encode()).hexdigest()}/"


def repository_of(key: str) -> str:
    """Name of the repository that a key under REPOSITORIES or CATALOG belongs to."""
    return key.split("/", 1)[1].split("/_", 1)[0]


def tag_directory(tag: Tag) -> str:
    """Spell a tag so that file systems that ignore case cannot merge two tags.

    Lower case, then "!" and the hexadecimal mask of capitals, bit i for character i, if any.
    """
    mask = sum(1 << i for i, character in enumerate(tag) if character.isupper())
    return f"{tag.lower()}!{mask:x}" if mask else str(tag)


def tag_of_directory(directory: str) -> Tag | None:
    """Undo tag_directory; None for a directory that no tag has."""
    match = re.fullmatch(r"([a-z0-9_][a-z0-9._-]{0,127})(?:!([0-9a-f]{1,32}))?", directory)
    if not match:
        return None
    mask = int(match[2] or "0", 16)
    spelled = (c.upper() if mask >> i & 1 else c for i, c in enumerate(match[1]))
    found = Tag("".join(spelled))
    return found if tag_directory(found) == directory else None


def _undashed(name: str) -> Digest | None:
    """The digest that a name <alg>-<hex> spells; None if it spells none."""
    try:
        return Digest.parse(name.replace("-", ":", 1))
    except DigestInvalid:
        return None
