"""What the record of a manifest says of it: the type that it was pushed with, and from where."""

from __future__ import annotations

import json
import logging

from backends.errors import Corrupt
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestInvalid
from distserver.oci.manifests import parse_manifest

log = logging.getLogger(__name__)

MAX_RECORD_BYTES = 4096


def field(record: bytes, name: str) -> object:
    """A field of a record; None if it has none, or is not one of ours."""
    try:
        value: object = json.loads(record)[name]
    except (ValueError, KeyError, TypeError):
        return None
    return value


def _media_type(record: bytes) -> str | None:
    value = field(record, "mediaType")
    return value if isinstance(value, str) else None


def type_of(record: bytes, digest: Digest, data: bytes) -> str:
    """The media type that a manifest was pushed with, as its record says.

    A record that is damaged, or does not fit the manifest, counts for nothing: then the type is the
    one that the manifest names itself. Raises: Corrupt.
    """
    for named in (_media_type(record), None):
        try:
            return parse_manifest(data, named).media_type
        except ManifestInvalid as exc:
            log.warning("the record of %s says %s: %s", digest, named, exc)
    raise Corrupt(f"the type of {digest} is not known any more")
