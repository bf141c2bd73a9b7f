"""Upload sessions: pieces as entries, in order, once, and gone when they are over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import Memory
from backends.errors import NotFound
from distserver.oci.digests import Digest
from distserver.oci.errors import BlobUploadUnknown, ChunkOutOfOrder, DigestInvalid, SizeInvalid
from distserver.oci.ranges import ByteRange
from distserver.registry import Registry, local_registry
from distserver.registry.uploads import Piece, end_of

HEX = "0" * 64


@pytest.fixture
def registry() -> Registry:
    return local_registry(Memory())


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), max_size=8))
def test_end_of_is_the_first_byte_that_no_piece_covers(pairs: list[tuple[int, int]]) -> None:
    covered = {byte for start, size in pairs for byte in range(start, start + size)}
    first_gap = next(byte for byte in range(50) if byte not in covered)
    assert end_of([Piece(start, size, HEX) for start, size in pairs]) == first_gap


@given(st.integers(0, 10**19), st.integers(1, 10**17))
def test_a_piece_comes_back_from_its_name(start: int, size: int) -> None:
    piece = Piece(start, size, HEX)
    assert Piece.parse(str(piece)) == piece


def test_pieces_of_a_digest_are_joined(registry: Registry) -> None:
    uploads, session = registry.uploads, registry.uploads.begin("a", "u")
    assert uploads.append("a", session, "u", [b"he", b"llo"], None) == 5
    assert uploads.append("a", session, "u", [b" you"], ByteRange(5, 9)) == 9
    uploads.finish("a", session, "u", Digest.of(b"hello you"))
    with registry.blobs.open("a", Digest.of(b"hello you")) as reader:
        assert reader.read() == b"hello you"
    assert not list(registry.backend.keys("repositories/a/_uploads/"))


def test_a_sha512_of_one_piece(registry: Registry) -> None:
    session = registry.uploads.begin("a", "")
    digest = Digest.of(b"x", "sha512")
    registry.uploads.finish("a", session, "", digest, ([b"x"], None))
    assert registry.blobs.size("a", digest) == 1


@pytest.mark.parametrize("at", [ByteRange(4, 6), ByteRange(6, 8), ByteRange(0, 5)])
def test_a_piece_elsewhere_than_at_the_end_is_out_of_order(
    registry: Registry, at: ByteRange
) -> None:
    session = registry.uploads.begin("a", "")
    registry.uploads.append("a", session, "", [b"hello"], None)
    with pytest.raises(ChunkOutOfOrder):
        registry.uploads.append("a", session, "", [b"x" * (at.stop - at.start)], at)
    assert registry.uploads.size("a", session, "") == 5


def test_a_body_shorter_than_its_range_adds_nothing(registry: Registry) -> None:
    session = registry.uploads.begin("a", "")
    with pytest.raises(SizeInvalid):
        registry.uploads.append("a", session, "", [b"abc"], ByteRange(0, 9))
    assert registry.uploads.size("a", session, "") == 0


def test_a_wrong_digest_leaves_the_session_as_it_was(registry: Registry) -> None:
    session = registry.uploads.begin("a", "")
    registry.uploads.append("a", session, "", [b"good"], None)
    with pytest.raises(DigestInvalid):
        registry.uploads.finish("a", session, "", Digest.of(b"other"), ([b"tail"], None))
    assert registry.uploads.size("a", session, "") == 4
    registry.uploads.finish("a", session, "", Digest.of(b"good"))


def test_a_wrong_digest_takes_back_nothing_of_another_request(registry: Registry) -> None:
    """A chunk that another request added behind ours, and that was acknowledged, stays."""
    session = registry.uploads.begin("a", "")

    def body() -> Iterator[bytes]:
        yield b"ours"
        registry.uploads.append("a", session, "", [b"theirs"], None)

    with pytest.raises((DigestInvalid, ChunkOutOfOrder)):
        registry.uploads.finish("a", session, "", Digest.of(b"other"), (body(), None))
    assert registry.uploads.size("a", session, "") == len(b"theirs")


def test_a_piece_that_vanishes_while_it_is_joined_is_no_outage(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = registry.uploads.begin("a", "")
    for text in (b"one", b"two"):
        registry.uploads.append("a", session, "", [text], None)

    def vanished(*_: object) -> None:
        raise NotFound("a piece")

    monkeypatch.setattr(registry.backend, "open", vanished)
    monkeypatch.setattr(registry.uploads, "_require", lambda *_: None)
    with pytest.raises(ChunkOutOfOrder):
        registry.uploads.finish("a", session, "", Digest.of(b"onetwo"))


def test_a_lost_answer_can_be_asked_again(registry: Registry) -> None:
    session = registry.uploads.begin("a", "")
    for _ in range(2):
        body = ([b"x"], None) if registry.uploads else None
        registry.uploads.finish("a", session, "", Digest.of(b"x"), body if _ == 0 else None)
    with pytest.raises(BlobUploadUnknown):
        registry.uploads.finish("a", session, "", Digest.of(b"y"))


@pytest.mark.parametrize("session", ["", "x", "0" * 32, "../../etc", "A" * 32])
def test_unknown_sessions(registry: Registry, session: str) -> None:
    with pytest.raises(BlobUploadUnknown):
        registry.uploads.size("a", session, "")


def test_sessions_of_others_are_unknown(registry: Registry) -> None:
    session = registry.uploads.begin("a", "alice")
    for name, user in (("a", "bob"), ("b", "alice"), ("a", "")):
        with pytest.raises(BlobUploadUnknown):
            registry.uploads.append(name, session, user, [b"x"], None)


def test_cancel_forgets_all(registry: Registry) -> None:
    session = registry.uploads.begin("a", "")
    registry.uploads.append("a", session, "", [b"x"], None)
    registry.uploads.cancel("a", session, "")
    assert not list(registry.backend.keys("repositories/"))
