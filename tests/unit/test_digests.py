"""Digests: the grammar, and every way in which a text only looks like one."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distserver.oci.digests import Digest, new_hash
from distserver.oci.errors import DigestInvalid

HEX = "0123456789abcdef"


@given(st.sampled_from([("sha256", 64), ("sha512", 128)]), st.data())
def test_what_is_parsed_is_written_the_same(kind: tuple[str, int], data: st.DataObject) -> None:
    text = f"{kind[0]}:{data.draw(st.text(HEX, min_size=kind[1], max_size=kind[1]))}"
    assert str(Digest.parse(text)) == text


@given(st.text())
def test_any_text_is_a_digest_or_a_clean_refusal(text: str) -> None:
    try:
        assert str(Digest.parse(text)) == text
    except DigestInvalid as exc:
        assert exc.status == 400


@pytest.mark.parametrize(
    "text",
    [
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 64 + "\n",
        "sha256:" + "٣" * 64,
        "sha256:" + "a" * 62 + "..",
        "SHA256:" + "a" * 64,
        "sha256" + "a" * 64,
        "sha256:",
        ":" + "a" * 64,
        "sha512:" + "a" * 64,
        "sha256:../../etc/passwd",
        "sha256+b64:" + "a" * 64,
        "",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(DigestInvalid):
        Digest.parse(text)


@pytest.mark.parametrize("algorithm", ["blake3", "md5", "sha384"])
def test_an_algorithm_that_we_lack_is_named(algorithm: str) -> None:
    with pytest.raises(DigestInvalid, match=algorithm):
        Digest.parse(f"{algorithm}:{'a' * 64}")


@given(st.binary(max_size=100))
def test_the_digest_of_data_is_its_hash(data: bytes) -> None:
    assert Digest.of(data).hex == hashlib.sha256(data).hexdigest()
    assert Digest.of(data, "sha512").hex == hashlib.sha512(data).hexdigest()
    assert Digest.of(data).hasher().digest_size == new_hash("sha256").digest_size == 32


def test_a_long_text_is_not_sent_back_whole() -> None:
    with pytest.raises(DigestInvalid) as caught:
        Digest.parse("x" * 100_000)
    assert len(str(caught.value.detail)) <= 512
