"""Owns the grammar of repository names and tags: the only gate between a URL and a stored key.

Spec: "Pulling manifests" (<name> and <reference> as a tag).
"""

from __future__ import annotations

import re

from distserver.oci.errors import NameInvalid, TagInvalid

MAX_NAME = 255
"""Longest repository name in characters, and longest host + "/" + name of a push."""

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)


class Tag(str):
    """A tag that parse_tag accepted; its case is kept."""

    __slots__ = ()


def parse_name(text: str) -> str:
    """Return text if it is a repository name, 1 to MAX_NAME characters. Raises: NameInvalid."""
    if len(text) > MAX_NAME:
        raise NameInvalid(f"repository name is longer than {MAX_NAME} characters", text[:MAX_NAME])
    if not _NAME.fullmatch(text):
        raise NameInvalid("repository name does not match the grammar", text)
    return text


def check_pushable(host: str, name: str) -> None:
    """Refuse a name that clients could not use together with this host.

    Many clients keep host and name in one field of 255 characters, and the host may change; so
    only pushes are refused.
    Raises: NameInvalid.
    """
    if len(host) + 1 + len(name) > MAX_NAME:
        raise NameInvalid(f"host and repository name are longer than {MAX_NAME} characters", name)


def parse_tag(text: str) -> Tag:
    """Return the tag that text is, 1 to 128 characters. Raises: TagInvalid."""
    if not _TAG.fullmatch(text):
        raise TagInvalid("tag does not match the grammar", text[:MAX_NAME])
    return Tag(text)
