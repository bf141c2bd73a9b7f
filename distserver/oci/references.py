"""Owns references: the part of a manifest's URL that is a tag or a digest, and the fallback tag."""

from __future__ import annotations

import re

from distserver.oci.digests import Digest
from distserver.oci.names import Tag, parse_tag

__all__ = ["Digest", "Reference", "Tag", "fallback_tag", "parse_reference", "referrers_tag"]

Reference = Tag | Digest

_NOT_IN_TAGS = re.compile(r"[^a-zA-Z0-9._-]", re.ASCII)


def parse_reference(text: str) -> Tag | Digest:
    """Return the digest or tag that text is; only digests contain a colon.

    Raises: DigestInvalid, TagInvalid.
    """
    return Digest.parse(text) if ":" in text else parse_tag(text)


def referrers_tag(text: str) -> str:
    """Return the tag under which old clients keep the referrers of a digest of any algorithm.

    Spec: "Referrers Tag Schema": algorithm cut to 32, encoded part to 64 characters, what tags
    cannot hold becomes "-".
    """
    algorithm, _, encoded = text.partition(":")
    return _NOT_IN_TAGS.sub("-", f"{algorithm[:32]}-{encoded[:64]}")


def fallback_tag(digest: Digest) -> Tag:
    """Return referrers_tag of a digest as a Tag."""
    return Tag(referrers_tag(str(digest)))
