"""A blob over bad links: cut, stalled, restarted, lied about; never fetched twice, never wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from distserver.oci.digests import Digest
from distserver.proxy.fetching import fetch as module
from distserver.proxy.fetching.partial import Partial
from distserver.proxy.fetching.room import NoRoom, Room
from distserver.proxy.fetching.writer import PartialWriter
from distserver.proxy.upstream.errors import (
    UpstreamAbsent,
    UpstreamError,
    UpstreamLied,
    UpstreamOffline,
    UpstreamUnavailable,
)
from tests.proxy.link import DATA, Link, bring, terms

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.001)


@pytest.mark.parametrize("cut", [1 << 40, 5_000_000, 1_000_003, 64_000])
def test_each_byte_crosses_the_link_once(tmp_path: Path, cut: int) -> None:
    partial, link = Partial(tmp_path / "p"), Link(cut=cut)
    assert bring(partial, link) == DATA
    assert link.sent == len(DATA)
    assert partial.size() == len(DATA)


def test_a_link_without_progress_ends_it_and_the_bytes_stay(tmp_path: Path) -> None:
    partial, link = Partial(tmp_path / "p"), Link(cut=9 * MIB)
    link.data = DATA[: 9 * MIB]
    with pytest.raises(UpstreamUnavailable):
        bring(partial, link, patience=0.05)
    assert partial.available() == 9 * MIB
    again = Link()
    assert bring(partial, again) == DATA
    assert again.starts == [9 * MIB]


def test_an_upstream_that_does_not_answer_at_all_is_told_at_once(tmp_path: Path) -> None:
    link = Link(cut=0)

    def refuse(start: int) -> Link:
        link.starts.append(start)
        raise UpstreamUnavailable("refused")

    link.open = refuse  # type: ignore[method-assign]
    with pytest.raises(UpstreamUnavailable):
        bring(Partial(tmp_path / "p"), link, patience=60)
    assert link.starts == [0]


def test_a_link_that_only_drips_is_silent(tmp_path: Path) -> None:
    link = Link(cut=1)
    with pytest.raises(UpstreamUnavailable):
        bring(Partial(tmp_path / "p"), link, patience=0.1)


def test_a_body_that_only_drips_is_silent(tmp_path: Path) -> None:
    link = Link()
    link.most = 1
    with pytest.raises(UpstreamUnavailable, match="drips"):
        bring(Partial(tmp_path / "p"), link, patience=-1)


def test_an_upstream_without_ranges_is_compared_and_passed_over(tmp_path: Path) -> None:
    partial, link = Partial(tmp_path / "p"), Link(cut=9 * MIB)
    link.data = DATA[: 9 * MIB]
    with pytest.raises(UpstreamUnavailable):
        bring(partial, link, patience=0.05)
    assert bring(partial, Link(ranges=False)) == DATA


def test_what_is_passed_over_may_not_drip_and_is_paid(tmp_path: Path) -> None:
    link, kept = Link(ranges=False), terms(tmp_path, patience=-1)
    partial, paid = left_behind(tmp_path, DATA[:MIB], len(DATA)), list[int]()
    link.most = 100
    kept.rate.bytes_per_second = MIB
    kept.rate.spend = paid.append  # type: ignore[method-assign]
    lock = partial.try_lock()
    assert lock
    with lock, pytest.raises(UpstreamUnavailable, match="drips"):
        module.fetch(lock, Digest.of(DATA), link, kept)  # type: ignore[arg-type]
    assert paid == [100]
    assert partial.available() == MIB


@pytest.mark.parametrize("wrong", [DATA[:-1] + b"\0", DATA + b"x", b""])
def test_wrong_bytes_are_never_whole(tmp_path: Path, wrong: bytes) -> None:
    partial, link = Partial(tmp_path / "p"), Link(wrong)
    with pytest.raises(UpstreamLied):
        bring(partial, link)
    assert link.blamed == [False] * module.CLEAN_TRIES
    assert partial.available() == 0
    assert bring(partial, Link()) == DATA


def test_a_bad_beginning_of_an_earlier_fetch_costs_one_more(tmp_path: Path) -> None:
    """Nobody is blamed for a mixture: it is fetched anew, in whole."""
    partial = Partial(tmp_path / "p")
    bad = Link(b"x" * 5 * MIB + DATA[5 * MIB :], cut=5 * MIB)
    with pytest.raises(UpstreamUnavailable):
        bring(partial, bad, stopped=lambda: bad.sent >= 5 * MIB)
    link = Link()
    assert bring(partial, link) == DATA
    assert link.blamed == [True]
    assert link.starts == [5 * MIB, 0]


@pytest.mark.parametrize("known", [None, len(DATA), len(DATA) + 9])
@pytest.mark.parametrize("more", [b"", b"x"])
def test_a_part_as_long_as_the_whole_is_begun_again(
    tmp_path: Path, known: int | None, more: bytes
) -> None:
    """A crash between two steps left it so. It heals, whatever is known of the size."""
    partial, link = left_behind(tmp_path, b"x" + DATA[1:] + more, known), Link()
    assert bring(partial, link) == DATA
    assert partial.size() == len(DATA)
    assert link.sent == len(DATA)


def test_a_whole_that_lost_its_size_is_not_fetched_again(tmp_path: Path) -> None:
    partial, link = left_behind(tmp_path, DATA, None), Link()
    assert bring(partial, link) == DATA
    assert link.starts == []
    assert partial.size() == len(DATA)


def left_behind(tmp_path: Path, data: bytes, size: int | None) -> Partial:
    """A partial as a fetch that died left it."""
    partial = Partial(tmp_path / "p")
    lock = partial.try_lock()
    assert lock
    with lock, lock.writer("sha256") as writer:
        writer.append(data)
        if size is not None:
            lock.set_size(size)
    return partial


def test_more_bytes_than_announced_are_a_lie(tmp_path: Path) -> None:
    link = Link(DATA + DATA)
    link.size = len(DATA)
    with pytest.raises(UpstreamLied):
        bring(Partial(tmp_path / "p"), link)


def test_another_size_than_before_begins_again(tmp_path: Path) -> None:
    partial = Partial(tmp_path / "p")
    longer = Link(DATA + b"more", cut=5 * MIB)
    with pytest.raises(UpstreamUnavailable):
        bring(partial, longer, stopped=lambda: longer.sent >= 5 * MIB)
    assert bring(partial, Link()) == DATA


@pytest.mark.parametrize(
    "error", [UpstreamAbsent("404"), UpstreamLied("range"), UpstreamOffline("offline")]
)
def test_what_waiting_does_not_mend_ends_at_once(tmp_path: Path, error: UpstreamError) -> None:
    link = Link(cut=MIB)
    begin: Callable[[int], Link] = link.open

    def refuse(start: int) -> Link:
        if start:
            link.starts.append(start)
            raise error
        return begin(start)

    link.open = refuse  # type: ignore[method-assign]
    with pytest.raises(type(error)):
        bring(Partial(tmp_path / "p"), link)
    assert link.starts == [0, MIB]


def test_switching_off_ends_it_in_the_middle(tmp_path: Path) -> None:
    link = Link()
    partial = Partial(tmp_path / "p")
    with pytest.raises(UpstreamUnavailable):
        bring(partial, link, stopped=lambda: link.sent > MIB)
    assert MIB < partial.available() < 3 * MIB
    assert len(link.starts) == 1


def test_no_room_is_told_with_the_size(tmp_path: Path) -> None:
    partial, link = Partial(tmp_path / "a" / "p"), Link()
    with pytest.raises(NoRoom) as caught:
        bring(partial, link, room=Room(tmp_path, len(DATA) - 1, 0))
    assert caught.value.size == len(DATA)
    assert link.sent == 0
    assert bring(partial, link, room=Room(tmp_path, len(DATA), 0)) == DATA


def test_abandoned_partials_take_the_room_that_they_have(tmp_path: Path) -> None:
    """What they once were to become holds up nobody; what is being fetched is counted in whole."""
    room = Room(tmp_path, 9 * MIB, 0)
    lock = Partial(tmp_path / "dead.site" / "p").try_lock()
    assert lock
    other = Partial(tmp_path / "up.site" / "p")
    with lock, lock.writer("sha256") as writer:
        lock.set_size(8 * MIB)
        writer.append(DATA[:MIB])
        with pytest.raises(NoRoom):
            room.require(other, 2 * MIB)
    room.require(other, 8 * MIB)
    with pytest.raises(NoRoom):
        room.require(other, 8 * MIB + 1)


def test_a_resume_needs_free_space_too(tmp_path: Path) -> None:
    """Its bytes stay where there is none; a full disk would cost them."""
    partial = left_behind(tmp_path, DATA[:MIB], len(DATA))
    with pytest.raises(NoRoom, match="are free") as caught:
        bring(partial, Link(), room=Room(tmp_path, 1 << 40, 1 << 60))
    assert caught.value.size == len(DATA)
    assert partial.available() == MIB
    assert bring(partial, Link()) == DATA


def test_readers_see_bytes_as_they_come(tmp_path: Path) -> None:
    partial, seen = Partial(tmp_path / "p"), []
    link = Link()
    read: Callable[[int], bytes] = link.read

    def watched(n: int) -> bytes:
        seen.append(partial.available())
        return read(n)

    link.read = watched  # type: ignore[method-assign]
    bring(partial, link)
    assert seen == sorted(seen)
    assert len(set(seen)) > 10


def test_the_rate_is_kept(tmp_path: Path) -> None:
    """Read in pieces of a quarter of a second's worth; each is paid before the next one."""
    link, paid = Link(DATA[: 8 * MIB]), []
    kept = terms(tmp_path)
    kept.rate.bytes_per_second = MIB
    kept.rate.spend = paid.append  # type: ignore[method-assign]
    lock = Partial(tmp_path / "p").try_lock()
    assert lock
    with lock, lock.writer("sha256") as writer:
        module._Filling(lock, writer, link, kept).run()  # type: ignore[arg-type]
        assert writer.hashes.size == 8 * MIB
    assert (sum(paid), max(paid)) == (8 * MIB, MIB // 4)
    assert isinstance(writer, PartialWriter)
