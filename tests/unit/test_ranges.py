"""Ranges, entity tags and page sizes: inclusive in headers, half-open inside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distserver.oci import ranges
from distserver.oci.errors import BlobUploadInvalid, PaginationNumberInvalid, RangeNotSatisfiable
from distserver.oci.ranges import ByteRange


@given(st.integers(0, 100), st.integers(0, 100), st.integers(1, 100))
def test_a_range_is_the_slice_that_it_names(first: int, last: int, size: int) -> None:
    data = bytes(range(size))
    try:
        part = ranges.parse_range(f"bytes={first}-{last}", size)
    except RangeNotSatisfiable as exc:
        assert first >= size or last < first
        assert exc.headers["Content-Range"] == f"bytes */{size}"
        return
    assert part
    assert data[part.start : part.stop] == data[first : last + 1]


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=-3", ByteRange(7, 10)),
        ("bytes=-30", ByteRange(0, 10)),
        ("bytes=4-", ByteRange(4, 10)),
        ("Bytes=0-99", ByteRange(0, 10)),
        ("bytes=0-0", ByteRange(0, 1)),
    ],
)
def test_open_ends(header: str, wanted: ByteRange) -> None:
    assert ranges.parse_range(header, 10) == wanted


@pytest.mark.parametrize(
    "header", [None, "", "bytes=", "bytes=-", "items=0-1", "bytes=0-1,3-4", "bytes=a-b", "bytes=٣-"]
)
def test_what_is_no_single_range_is_answered_whole(header: str | None) -> None:
    assert ranges.parse_range(header, 10) is None


@pytest.mark.parametrize(
    "header", ["bytes=-0", "bytes=10-", "bytes=5-4", "bytes=" + "9" * 40 + "-"]
)
def test_unsatisfiable(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        ranges.parse_range(header, 10)


@pytest.mark.parametrize("header", ["0-9", "bytes 0-9", "bytes 0-9/*", "0-9/10", " 0-9/99"])
def test_content_ranges(header: str) -> None:
    assert ranges.parse_content_range(header) == ByteRange(0, 10)


@pytest.mark.parametrize(
    "header", ["", "9", "5-1", "0-9/5", "-1-5", "0-9999999999999999999", "٠-٩"]
)
def test_bad_content_ranges(header: str) -> None:
    with pytest.raises(BlobUploadInvalid):
        ranges.parse_content_range(header)


def test_the_range_of_an_upload() -> None:
    assert [ranges.upload_range(size) for size in (0, 1, 10)] == ["0-0", "0-0", "0-9"]


@pytest.mark.parametrize("header", ['"a:b"', "a:b", 'W/"a:b"', '"x", "a:b"', "*"])
def test_entity_tags_that_match(header: str) -> None:
    assert ranges.etag_matches(header, '"a:b"')


@pytest.mark.parametrize("header", [None, "", '"a:bc"', "x"])
def test_entity_tags_that_do_not(header: str | None) -> None:
    assert not ranges.etag_matches(header, "a:b")


def test_if_range_is_compared_strongly() -> None:
    assert ranges.if_range_matches(None, "a:b")
    assert ranges.if_range_matches('"a:b"', "a:b")
    assert not ranges.if_range_matches('W/"a:b"', "a:b")
    assert not ranges.if_range_matches("Tue, 24 Nov 2026 00:00:00 GMT", "a:b")


def test_page_sizes() -> None:
    assert [ranges.parse_count(text, 100) for text in (None, "0", "7", "101")] == [None, 0, 7, 100]


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "1e3", "٣", " 1", "1_0", "9" * 19])
def test_bad_page_sizes(text: str) -> None:
    with pytest.raises(PaginationNumberInvalid):
        ranges.parse_count(text, 100)
