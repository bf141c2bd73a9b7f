"""Keys: unique, reversible, never one a parent of another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from distserver.oci.digests import Digest
from distserver.oci.names import Tag
from distserver.registry import layout

TAGS = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", fullmatch=True).map(Tag)
D = Digest("sha256", "ab" * 32)


@given(TAGS)
def test_a_tag_comes_back_from_its_directory(tag: Tag) -> None:
    assert layout.tag_of_directory(layout.tag_directory(tag)) == tag


@given(TAGS, TAGS)
def test_two_tags_never_share_a_directory_even_without_case(one: Tag, two: Tag) -> None:
    same = layout.tag_directory(one).lower() == layout.tag_directory(two).lower()
    assert same == (one == two)


def test_directories_that_no_tag_has() -> None:
    assert [layout.tag_of_directory(text) for text in ("a!0", "A", "a!2", ".a", "a!zz")] == [
        None
    ] * 5


def test_the_keys() -> None:
    assert layout.blob(D) == f"blobs/sha256/ab/{D.hex}"
    assert layout.chunks(D) == f"chunks/sha256/ab/{D.hex}"
    assert layout.blob_records("a/b", D) == f"repositories/a/b/_blobs/sha256/{D.hex}/"
    assert layout.manifest_records("a/b", D) == f"repositories/a/b/_manifests/sha256/{D.hex}/"
    assert layout.tag("a", Tag("Xy")) == "repositories/a/_tags/xy!1/"
    assert layout.referrer("a", D, D) == f"repositories/a/_referrers/sha256/{D.hex}/sha256-{D.hex}"
    assert layout.upload("a", "s") == "repositories/a/_uploads/s/"
    assert layout.damaged(D) == f"hints/damaged/sha256-{D.hex}"


def test_the_repository_of_a_key() -> None:
    assert layout.repository_of(layout.catalog("a/b")) == "a/b"
    assert layout.repository_of(layout.tags("a/b") + "x/y") == "a/b"
