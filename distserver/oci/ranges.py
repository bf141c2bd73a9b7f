"""Owns the numbers in headers and queries: ranges, chunk ranges, entity tags, page sizes.

Half-open inside, inclusive only in the headers: the conversion happens here and nowhere else.
Spec: end-2, end-5, end-6, end-8; RFC 9110 §13.1 and §14.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from distserver.oci.errors import BlobUploadInvalid, PaginationNumberInvalid, RangeNotSatisfiable

_RANGE = re.compile(r"bytes=\s*([0-9]{0,64})-([0-9]{0,64})", re.ASCII | re.IGNORECASE)
_CONTENT_RANGE = re.compile(
    r"(?:bytes +)?([0-9]{1,18})-([0-9]{1,18})(?:/([0-9]{1,18}|\*))?", re.ASCII | re.IGNORECASE
)
_COUNT = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes start <= i < stop, 0 <= start < stop."""

    start: int
    stop: int

    def content_range(self, size: int) -> str:
        """Return the Content-Range of a 206 for content of size bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the part of size bytes that a Range header asks for; None = send everything.

    What is absent, malformed, of another unit, or several ranges at once, is answered in full as
    RFC 9110 §14.2 allows. The end is clipped to size. A range that ends before its start is
    malformed by the RFC, yet the conformance suite wants it refused.
    Raises: RangeNotSatisfiable, with the Content-Range header.
    """
    match = _RANGE.fullmatch(header.strip()) if header is not None else None
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        start = int(match[1])
        stop = min(int(match[2]) + 1, size) if match[2] else size
    else:
        start, stop = max(size - int(match[2]), 0), size
    if start >= stop:
        raise RangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
    return ByteRange(start, stop)


def parse_content_range(header: str) -> ByteRange:
    """Return the range of a pushed chunk: `0-1023`, also `bytes 0-1023` and `bytes 0-1023/4096`.

    Raises: BlobUploadInvalid when malformed.
    """
    match = _CONTENT_RANGE.fullmatch(header.strip(" \t"))
    if match is None:
        raise BlobUploadInvalid("Content-Range is malformed", header[:128])
    start, stop = int(match[1]), int(match[2]) + 1
    total = stop if match[3] in (None, "*") else int(match[3])
    if start >= stop or stop > total:
        raise BlobUploadInvalid("Content-Range is contradictory", header[:128])
    return ByteRange(start, stop)


def upload_range(size: int) -> str:
    """Return the Range header of an upload that holds size bytes.

    Nothing yet is `0-0` too: clients parse `0-N` and the form has no way to say "nothing".
    """
    return f"0-{max(size - 1, 0)}"


def etag_matches(header: str | None, etag_value: str) -> bool:
    """Tell whether an If-None-Match header covers the entity tag.

    Digests never contain commas, so a plain split is safe; unquoted tags come from real clients.

        etag_value  with or without its quotes
    """
    if header is None:
        return False
    wanted = etag_value.strip('"')
    given = (item.strip(" \t").removeprefix("W/").strip('"') for item in header.split(","))
    return any(item in ("*", wanted) for item in given)


def if_range_matches(header: str | None, etag_value: str) -> bool:
    """Tell whether a Range header is to be honoured: If-Range is absent or names the entity tag.

    The comparison is strong (RFC 9110 §13.1.5); a date never matches, as we send none.
    """
    return header is None or header.strip(" \t") == '"' + etag_value.strip('"') + '"'


def parse_count(text: str | None, maximum: int) -> int | None:
    """Return the page size `n`, at most maximum; None when the query has none.

    Raises: PaginationNumberInvalid (sign, text, other digits than 0-9, more than 18 of them).
    """
    if text is None:
        return None
    if not _COUNT.fullmatch(text):
        raise PaginationNumberInvalid(detail=text[:64])
    return min(int(text), maximum)
