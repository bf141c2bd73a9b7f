"""Names, tags and references: the gate between a URL and a stored key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distserver.oci.digests import Digest
from distserver.oci.errors import DigestInvalid, NameInvalid, TagInvalid
from distserver.oci.names import check_pushable, parse_name, parse_tag
from distserver.oci.references import fallback_tag, parse_reference, referrers_tag

GOOD = ["a", "library/nginx", "a.b/c_d/e__f/g-h/i---j", "0/1", "a" * 255, "docker.io/library/x"]
BAD = ["", "A", "a/", "/a", "a//b", "..", "a/../b", "a..b", "a___b", "_a", "a_", "-a", "a-", "a b"]
BAD += ["a\n", "a\0", "a/%2e%2e", "ä", "a\\b", "a:b", "a._b", ".a", "a" * 256, "a/_tags", "a@b"]


@pytest.mark.parametrize("name", GOOD)
def test_good_names(name: str) -> None:
    assert parse_name(name) == name


@pytest.mark.parametrize("name", BAD)
def test_bad_names(name: str) -> None:
    with pytest.raises(NameInvalid):
        parse_name(name)


@given(st.text(max_size=40))
def test_an_accepted_name_cannot_leave_its_directory(text: str) -> None:
    try:
        parts = parse_name(text).split("/")
    except NameInvalid:
        return
    assert all(part and part[0] not in "._-" and part == part.lower() for part in parts)


def test_host_and_name_share_255_characters() -> None:
    check_pushable("h" * 100, "n" * 154)
    with pytest.raises(NameInvalid):
        check_pushable("h" * 100, "n" * 155)


@pytest.mark.parametrize("tag", ["latest", "_", "V1.0-rc_2", "a" * 128, "0"])
def test_good_tags(tag: str) -> None:
    assert parse_tag(tag) == tag


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a" * 129, "a/b", "a:b", "a\n", "ä", "a b", "a\0"])
def test_bad_tags(tag: str) -> None:
    with pytest.raises(TagInvalid):
        parse_tag(tag)


def test_only_what_has_a_colon_is_a_digest() -> None:
    digest = Digest.of(b"")
    assert parse_reference(str(digest)) == digest
    assert parse_reference("latest") == "latest"
    with pytest.raises(DigestInvalid):
        parse_reference("latest:x")


def test_the_fallback_tag_is_the_digest_with_a_dash() -> None:
    digest = Digest.of(b"", "sha512")
    assert fallback_tag(digest) == f"sha512-{digest.hex[:64]}"
    assert referrers_tag("a+b:" + "c" * 99) == "a-b-" + "c" * 64
