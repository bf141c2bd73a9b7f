"""Who belongs to a set: forming, joining, leaving, two of them, and what may go wrong meanwhile."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from backends import Filesystem, Memory, ReplicaSet, initialise, put, read_all, store_ids
from backends.base import Space
from backends.errors import NotFound, Unavailable
from backends.replica import membership
from backends.replica.identities import markers
from backends.replica.marker import Marker, parse
from backends.replica.member import Member
from backends.replica.quorum import common_space, quorum_of
from tests.backends.members import Site


@pytest.mark.parametrize(
    ("members", "degraded", "write", "read"),
    [(1, False, 1, 1), (2, False, 2, 1), (2, True, 1, 2), (3, False, 2, 2), (3, True, 2, 2)]
    + [(4, False, 3, 2), (5, False, 3, 3)],
)
def test_any_readers_meet_any_writers(members: int, degraded: bool, write: int, read: int) -> None:
    quorum = quorum_of(members, degraded)
    assert (quorum.write, quorum.read) == (write, read)
    assert quorum.write + quorum.read > members


def test_a_marker_is_read_as_it_was_written() -> None:
    marker = Marker("m", "s", 3, ("m", "n"), ("o",), True)
    assert parse("m", marker.data) == marker
    for data in (b"", b"[]", b"{}", b'{"format": 1}', b"\xff", b'{"set": 1}', b"[" * 5000):
        assert parse("m", data) is None


def test_threads_that_meet_a_member_at_once_get_one_storage() -> None:
    """Each would have a prober of its own otherwise, for ever."""
    together = threading.Barrier(8, timeout=20)

    def admit(member: Member) -> str:
        together.wait()
        return "id"

    member = Member("/mnt/a", lambda expected_id: Memory(), admit)
    with ThreadPoolExecutor(8) as several:
        found = [one.result(20) for one in [several.submit(member.backend) for _ in range(8)]]
    assert len(set(map(id, found))) == 1


def test_forming_again_changes_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("_store/*")}
    assert initialise(site.open()) == site.id
    assert {path: path.read_bytes() for path in tmp_path.rglob("_store/*")} == before
    assert store_ids(site.open()) == {site.id}


def test_a_member_alone_is_a_storage_with_the_set_s_id(tmp_path: Path) -> None:
    """An operator can serve one directory as it is, if all else is lost."""
    site = Site(tmp_path)
    put(site.open(), "entry", b"x")
    assert read_all(Filesystem(site.roots[1], expected_id=site.id), "entry", 9) == b"x"


@pytest.mark.parametrize("step", range(12))
def test_forming_that_is_broken_off_is_gone_on_with(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was written when it stopped: no member counts before all have their identity."""
    urls = {str(tmp_path / name): Memory() for name in "abc"}
    written = 0
    create = Memory.create

    def stopping(self: Memory):  # type: ignore[no-untyped-def]
        nonlocal written
        written += 1
        if written > step:
            raise Unavailable("stopped")
        return create(self)

    def opened() -> ReplicaSet:
        return ReplicaSet({url: lambda _, kept=kept: kept for url, kept in urls.items()})  # type: ignore[misc]

    with monkeypatch.context() as patch:
        patch.setattr(Memory, "create", stopping)
        with pytest.raises(Unavailable):
            initialise(opened())
    id_ = initialise(opened())
    put(opened(), "entry", b"x")
    found = [marker for kept in urls.values() for marker in markers(kept)]
    assert {marker.set_id for marker in found} == {id_}
    assert sorted(marker.member for marker in found) == sorted(found[0].members)
    assert all(marker.generation == 1 for marker in found)


def test_a_member_that_is_down_does_not_hinder_a_start(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.break_(1, "refused")
    assert initialise(site.open()) == site.id


def test_a_storage_that_is_not_ours_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
    (tmp_path / "b" / "photos").write_text("x")
    urls = [str(tmp_path / name) for name in "abc"]
    storage = ReplicaSet(
        {url: lambda id_, url=url: Filesystem(url, expected_id=id_) for url in urls}
    )  # type: ignore[misc]
    with pytest.raises(Unavailable, match="no identity"):
        initialise(storage)
    assert not list(tmp_path.rglob("_store"))


def test_a_known_set_is_never_formed_anew(tmp_path: Path) -> None:
    """All mounts are missing and the empty mount points are there: not empty, but not mounted."""
    site = Site(tmp_path / "old")
    new = Site.__new__(Site)
    new.roots = [tmp_path / name for name in "abc"]
    for root in new.roots:
        root.mkdir()
    urls = [str(root) for root in new.roots]
    storage = ReplicaSet(
        {url: lambda id_, url=url: Filesystem(url, expected_id=id_) for url in urls},  # type: ignore[misc]
        expected_id=site.id,
    )
    with pytest.raises(Unavailable, match="mounted"):
        initialise(storage)


def test_a_storage_with_content_becomes_a_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the first member, and keeps its id; the others join it, one at a time."""
    monkeypatch.setattr(membership, "FREEZE_SECONDS", 0)
    roots = [tmp_path / name for name in "abc"]
    for root in roots:
        root.mkdir()
    plain = Filesystem(roots[0], reserve_bytes=0)
    id_ = initialise(plain)
    put(plain, "repositories/r/_tags/t/x", b"")
    urls = [str(root) for root in roots]
    storage = ReplicaSet(
        {url: lambda i, url=url: Filesystem(url, expected_id=i, reserve_bytes=0) for url in urls},  # type: ignore[misc]
        expected_id=id_,
    )
    assert initialise(storage) == id_
    assert storage.roster.quorum == quorum_of(1)
    for number in (1, 2):
        assert list(storage.membership.join(urls[number]))
        assert storage.roster.quorum == quorum_of(number + 1)
    assert {s.role for s in storage.membership.status()} == {"counts"}
    for root in roots:
        assert list(Filesystem(root).keys("repositories/")) == ["repositories/r/_tags/t/x"]


class TestChanges:
    @pytest.fixture(autouse=True)
    def _haste(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(membership, "FREEZE_SECONDS", 0)

    def test_one_leaves_and_comes_again_empty(self, tmp_path: Path) -> None:
        site = Site(tmp_path, 4)
        storage = site.open()
        assert storage.roster.quorum.write == 3
        for number in range(5):
            put(storage, f"catalog/{number}/_name", b"x")
        left = storage.membership.status()[3].id
        list(storage.membership.leave(left))
        assert storage.roster.quorum.write == 2
        put(storage, "catalog/new/_name", b"x")
        assert "catalog/new/_name" not in site.keys(3)
        with pytest.raises(Unavailable, match="not empty"):
            list(storage.membership.join(str(site.roots[3])))

    def test_another_server_follows_a_new_list(self, tmp_path: Path) -> None:
        site = Site(tmp_path, 4)
        storage, other = site.open(), site.open()
        put(other, "entry", b"x")
        list(storage.membership.leave(storage.membership.status()[3].id))
        other.roster.refresh()
        assert other.roster.quorum.write == 2

    def test_nothing_is_written_while_the_number_changes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = Site(tmp_path, 4)
        storage, other = site.open(), site.open()
        begun = other.create()
        begun.write(b"begun before")
        seen = []

        def frozen(seconds: float) -> None:
            other.roster.refresh()
            for write in (
                lambda: put(other, "entry", b"x"),
                lambda: begun.commit("begun"),
                lambda: other.delete("entry"),
            ):
                with pytest.raises(Unavailable, match="being changed"):
                    write()
            seen.append(list(other.keys("catalog/")))

        put(storage, "catalog/a/_name", b"")
        # Only there: threads that other tests left sleep as well.
        monkeypatch.setattr(membership, "time", SimpleNamespace(sleep=frozen))
        list(storage.membership.leave(storage.membership.status()[3].id))
        assert seen == [["catalog/a/_name"]]
        other.roster.refresh()
        put(other, "entry", b"x")

    def test_others_must_be_there(self, tmp_path: Path) -> None:
        site = Site(tmp_path)
        storage = site.open()
        ids = [s.id for s in storage.membership.status()]
        site.break_(1, "refused")
        with pytest.raises(Unavailable, match="must be there"):
            list(storage.membership.leave(ids[0]))
        for wrong in ("unknown", ""):
            with pytest.raises(Unavailable):
                list(storage.membership.join(str(site.roots[0]), wrong or None))

    def test_a_join_that_was_broken_off_is_repeated(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import shutil

        site = Site(tmp_path)
        storage = site.open()
        for number in range(5):
            put(storage, f"catalog/{number}/_name", b"x")
        lost = storage.membership.status()[0].id
        shutil.rmtree(site.roots[0])
        site.roots[0].mkdir()
        fresh = site.open(expected_id=site.id)
        steps = fresh.membership.join(str(site.roots[0]), lost)
        next(steps)
        steps.close()  # type: ignore[attr-defined]
        assert fresh.membership.status()[0].role == "joining"
        put(fresh, "catalog/meanwhile/_name", b"x")
        again = site.open(expected_id=site.id)
        list(again.membership.join(str(site.roots[0]), lost))
        assert site.equal
        assert {s.role for s in again.membership.status()} == {"counts"}


class TestTwo:
    def test_both_must_have_it(self, tmp_path: Path) -> None:
        site = Site(tmp_path, 2)
        storage = site.open()
        put(storage, "entry", b"x")
        site.break_(0, "refused")
        assert read_all(storage, "entry", 9) == b"x"
        with pytest.raises(NotFound):
            storage.stat("absent")
        with pytest.raises(Unavailable):
            put(storage, "new", b"x")
        assert list(storage.keys("")) == [f"_store/{site.id}", "entry"]
        with pytest.raises(Unavailable):  # the other one may not have it
            list(storage.keys("", settle=True))

    def test_one_is_enough_by_name_only(self, tmp_path: Path) -> None:
        """Absence then needs both."""
        site = Site(tmp_path, 2)
        storage = site.open(degraded_ack=True)
        site.break_(0, "refused")
        put(storage, "new", b"x")
        assert read_all(storage, "new", 9) == b"x"
        with pytest.raises(Unavailable):
            storage.stat("absent")
        with pytest.raises(Unavailable):
            list(storage.keys("repositories/", settle=True))


@pytest.mark.parametrize(
    ("told", "silent", "free"),
    [((1, 2, 3), 0, 2), ((1, 2), 1, 2), ((1,), 2, None), ((), 3, None), ((5, 5), 0, 5)],
)
def test_room_is_what_a_majority_has(told: tuple[int, ...], silent: int, free: int | None) -> None:
    """A member that cannot know, as a bucket, has room until it says that it is full."""
    spaces = [Space(bytes_, bytes_, bytes_) for bytes_ in told]
    found = common_space([*spaces, *[None] * silent], write=2)
    assert (found.free_bytes if found else None) == free
