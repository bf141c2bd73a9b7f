"""What a set of three does when members fail: a test for each row of the table in ADR 0017.

Pulls and pushes go through a registry and its API in this process, over members that fail as mounts
do. `settled` tells what must be true once the fault is over: all members have everything again,
by the set's own work in the background.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends import Filesystem, ReplicaSet, put, read_all
from backends.errors import Corrupt, NotFound, Unavailable
from backends.replica import asking, hints, listing, tending, writing
from distserver import app as application
from distserver import storage as opening
from distserver.config import Config
from tests.backends.members import KINDS, Site
from tests.counts import count
from tests.faults.images import (
    Call,
    Image,
    assert_pulls,
    digest_of,
    in_process,
    make_image,
    push,
    push_blob,
    push_manifest,
)
from tests.live import wait_for

IMAGE = make_image("held", 2_500_000)
NAME = "site/app"


class World:
    """A registry over a set, as one process has it."""

    def __init__(self, storage: ReplicaSet, state: Path) -> None:
        self.storage = storage
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(opening, "open_backend", lambda *urls, **options: storage)
            made = application.create_app(Config(state=str(state), hot_bytes=0))
        self.call: Call = in_process(made.test_client())

    def push(self, seed: object, tag: str = "new") -> Image:
        image = make_image(seed, 200_000)
        push(self.call, NAME, tag, image)
        return image

    def status(self, method: str, path: str) -> int:
        return self.call(method, f"/v2/{NAME}/{path}").status


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.mend()


@pytest.fixture
def world(site: Site, tmp_path: Path) -> World:
    made = World(site.open(), tmp_path / "state")
    push(made.call, NAME, "v1", IMAGE)
    return made


def other(world: World, storage: ReplicaSet, tmp_path: Path) -> World:
    """The same registry in another process."""
    return World(storage, tmp_path / "other-state")


def settled(world: World, site: Site) -> None:
    """All members are equal again, and no hint is left."""

    def is_equal() -> bool:
        world.storage.tend()
        return site.equal and not any(_hints(world.storage))

    wait_for(is_equal, 20, "equal members")


def _hints(storage: ReplicaSet) -> Iterator[str]:
    others = ("hints/beats/", "hints/damaged/")
    return (key for key in storage.keys(hints.PREFIX) if not key.startswith(others))


def problems(storage: ReplicaSet) -> dict[str, str]:
    """Why members are not used, by their URLs."""
    storage.roster.refresh()
    return {one.part: one.words for one in storage.standings() if not one.up}


def timed(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


@pytest.mark.parametrize("number", range(count(1, 3)))
@pytest.mark.parametrize("kind", KINDS)
def test_one_fails(world: World, site: Site, kind: str, number: int) -> None:
    """1 down (refused), hung, slow, read-only, full: pulls and pushes go on, then it catches up."""
    site.break_(number, kind)
    assert_pulls(world.call, NAME, "v1", IMAGE)
    pushed = world.push(kind)
    assert_pulls(world.call, NAME, "new", pushed)
    # The best of three, as other work on the machine is none of a member's fault.
    assert min(timed(lambda: assert_pulls(world.call, NAME, "v1", IMAGE)) for _ in range(3)) < 2
    assert_pulls(world.call, NAME, IMAGE.digest, IMAGE)
    if kind != "slow":
        assert not site.equal
    site.mend()
    settled(world, site)


def test_one_full_is_told_as_full_only_when_all_are(world: World, site: Site) -> None:
    for number in range(3):
        site.break_(number, "full")
    answer = push_blob(world.call, NAME, b"x" * 1000)
    assert (answer.status, answer.error) == (507, "DENIED")
    assert b"0 MiB are free" in answer.body
    assert_pulls(world.call, NAME, "v1", IMAGE)
    site.mend()
    assert_pulls(world.call, NAME, "new", world.push("room again"))


def test_one_stale_returned_after_an_hour(world: World, site: Site, tmp_path: Path) -> None:
    """What it missed wins by its number; and with another one down then, nothing is lost."""
    site.break_(0, "refused")
    new = [world.push(f"stale {number}", "v1") for number in range(3)][-1]
    assert world.status("DELETE", "manifests/v2") == 404
    site.break_(0, "")
    site.break_(1, "refused")
    fresh = other(world, site.open(), tmp_path)
    assert_pulls(fresh.call, NAME, "v1", new)
    site.mend()
    settled(world, site)


def test_one_returned_after_a_month_brings_nothing_back(world: World, site: Site) -> None:
    """Removals are additions that are never pruned: what it still has counts for nothing."""
    site.break_(0, "refused")
    assert world.status("DELETE", f"manifests/{IMAGE.digest}") == 202
    site.mend()
    assert world.status("GET", "manifests/v1") == 404
    settled(world, site)
    assert world.status("GET", "manifests/v1") == 404
    assert world.status("GET", f"manifests/{IMAGE.digest}") == 404


def test_one_restored_from_an_old_snapshot(world: World, site: Site, tmp_path: Path) -> None:
    """It forgot what it acknowledged: it does not count before it was compared."""
    world.storage.tend()
    old = tmp_path / "snapshot"
    shutil.copytree(site.roots[0], old)
    site.break_(2, "refused")
    new = world.push("after the snapshot", "v1")
    world.storage._tending._next_beat = 0
    world.storage.tend()
    shutil.rmtree(site.roots[0])
    shutil.copytree(old, site.roots[0])
    site.break_(2, "")
    site.break_(1, "refused")  # the only one that has the new version
    fresh = other(world, site.open(), tmp_path)
    # It is told by what the one that was away has seen, or not at all: both are away or behind.
    site.break_(1, "")
    fresh.storage.roster.refresh()
    assert "set back" in problems(fresh.storage)[str(site.roots[0])]
    assert_pulls(fresh.call, NAME, "v1", new)
    site.break_(1, "refused")
    assert fresh.status("GET", "manifests/v1") == 503, "two of three do not count now"
    site.mend()

    def is_back() -> bool:
        fresh.storage.tend()
        return not problems(fresh.storage)

    wait_for(is_back, 20, "the member that was set back")
    site.break_(1, "refused")
    assert_pulls(fresh.call, NAME, "v1", new)
    site.mend()


def blob_of(site: Site, number: int, data: bytes) -> Path:
    digest = digest_of(data).removeprefix("sha256:")
    return site.roots[number] / "blobs/sha256" / digest[:2] / digest


def rot(path: Path, at: int = 1_500_000) -> bytes:
    """Flip one byte; return what the file has then."""
    data = bytearray(path.read_bytes())
    data[min(at, len(data) - 1)] ^= 1
    path.write_bytes(data)
    return bytes(data)


@pytest.mark.parametrize("harm", ["flip", "truncate", "remove", "chunks"])
def test_bit_rot_on_one(world: World, site: Site, harm: str) -> None:
    """Read around, mended from another, the damaged bytes kept aside."""
    path = blob_of(site, 0, IMAGE.layer)
    before = path.read_bytes()
    if harm == "flip":
        rot(path)
    elif harm == "truncate":
        path.write_bytes(before[:-5])
    elif harm == "remove":
        path.unlink()
    else:
        rot(Path(str(path).replace("/blobs/", "/chunks/")), 40)
    for _ in range(20):
        assert_pulls(world.call, NAME, "v1", IMAGE)
    world.storage.scrub(f"blobs/sha256/{path.parent.name}/{path.name}")
    wait_for(lambda: path.exists() and path.read_bytes() == before, 20, "the mended copy")
    kept = list(site.roots[0].glob("trash/damaged/*"))
    assert len(kept) == (harm in ("flip", "truncate"))
    settled(world, site)


def test_bit_rot_of_a_chunk_on_all(world: World, site: Site) -> None:
    """That blob is 503; clients are let push it again, which mends it."""
    digest = digest_of(IMAGE.layer)
    for number in range(3):
        rot(blob_of(site, number, IMAGE.layer))
    with pytest.raises(Corrupt):  # what was sent by then was right; the server cuts it short
        world.call("GET", f"/v2/{NAME}/blobs/{digest}")
    assert world.status("GET", f"blobs/{digest}") == 503
    assert world.status("HEAD", f"blobs/{digest}") == 404
    push(world.call, NAME, "v1", IMAGE)
    assert_pulls(world.call, NAME, "v1", IMAGE)
    settled(world, site)


def test_two_are_down(world: World, site: Site) -> None:
    """Pulls of held digests go on; tags and pushes are refused with 503, never 404."""
    for number in (0, 2):
        site.break_(number, "refused")
    for blob in IMAGE.blobs:
        answer = world.call("GET", f"/v2/{NAME}/blobs/{digest_of(blob)}")
        assert (answer.status, answer.body) == (200, blob)
    assert world.call("GET", f"/v2/{NAME}/manifests/{IMAGE.digest}").body == IMAGE.manifest
    absent = "sha256:" + 64 * "0"
    for path in ("manifests/v1", "manifests/absent", f"blobs/{absent}", f"manifests/{absent}"):
        assert world.status("GET", path) == 503, path
    assert world.status("GET", "tags/list") == 503
    assert push_blob(world.call, NAME, b"new").status == 503
    assert push_manifest(world.call, NAME, "v1", IMAGE.manifest).status == 503
    site.mend()
    assert_pulls(world.call, NAME, "v1", IMAGE)
    settled(world, site)


def test_three_are_down(world: World, site: Site) -> None:
    for number in range(3):
        site.break_(number, "refused")
    for path in ("manifests/v1", f"blobs/{digest_of(IMAGE.layer)}", "tags/list"):
        assert world.status("GET", path) in (200, 503), path
    assert push_blob(world.call, NAME, b"new").status == 503
    site.mend()
    assert_pulls(world.call, NAME, "v1", IMAGE)
    assert push_blob(world.call, NAME, b"new").status == 201


def test_all_hang_at_once(world: World, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait without a deadline, here a tenth of the usual, and no restart afterwards."""
    monkeypatch.setattr(asking, "PATIENT_SECONDS", 0.5)
    monkeypatch.setattr(listing, "PAGE_SECONDS", 0.5)
    monkeypatch.setattr(writing, "WRITE_SECONDS", 1.0)
    for number in range(3):
        site.break_(number, "hung")
    assert timed(lambda: push_blob(world.call, NAME, b"new")) < 5
    assert timed(lambda: world.status("GET", f"blobs/{digest_of(IMAGE.layer)}")) < 5
    site.mend()
    assert_pulls(world.call, NAME, "v1", IMAGE)


def test_pods_see_overlapping_members(world: World, site: Site, tmp_path: Path) -> None:
    """Pod X sees {1, 2}, Y sees {2, 3}: quorums meet in 2."""
    x, y = site.seen_from(0, 1), site.seen_from(1, 2)
    left, right = other(world, x, tmp_path), other(world, y, tmp_path)
    for turn in range(3):
        image = left.push(f"left {turn}", "moving")
        assert_pulls(right.call, NAME, "moving", image)
        image = right.push(f"right {turn}", "moving")
        assert_pulls(left.call, NAME, "moving", image)
    settled(world, site)


def test_one_pod_sees_one_member_only(world: World, site: Site, tmp_path: Path) -> None:
    """Pod X sees {1} only: its tags and pushes are 503. Y sees {2, 3} and goes on."""
    x = other(world, site.seen_from(0), tmp_path)
    y = other(world, site.seen_from(1, 2), tmp_path)
    image = y.push("meanwhile", "v1")
    assert x.status("GET", "manifests/v1") == 503
    assert push_blob(x.call, NAME, b"x").status == 503
    assert_pulls(y.call, NAME, "v1", image)
    settled(world, site)


@pytest.mark.parametrize("harm", ["unmounted", "missing", "empty disk", "another set", "twice"])
def test_a_wrong_path_counts_for_nothing(
    world: World, site: Site, tmp_path: Path, harm: str
) -> None:
    """Unmounted, replaced by an empty one, another set's, the same one twice: down, never empty."""
    root, aside = site.roots[0], tmp_path / "aside"
    root.rename(aside)
    if harm != "missing":
        root.mkdir()
    if harm == "another set":
        foreign = Site(tmp_path / "foreign")
        shutil.rmtree(root)
        shutil.copytree(foreign.roots[0], root)
    if harm == "twice":
        shutil.rmtree(root)
        shutil.copytree(site.roots[1], root)
    for each in (world, other(world, site.open(expected_id=site.id), tmp_path)):
        assert_pulls(each.call, NAME, "v1", IMAGE)
        assert each.status("GET", "manifests/absent") == 404
        assert len(problems(each.storage)) == 1
    image = world.push("meanwhile")
    assert not any((root / "blobs").glob("*/*/*")) or harm in ("another set", "twice")
    shutil.rmtree(root, ignore_errors=True)
    aside.rename(root)
    assert_pulls(world.call, NAME, "new", image)
    settled(world, site)


def test_two_members_swapped(world: World, site: Site, tmp_path: Path) -> None:
    """A running server refuses both, a new one takes them for what they are."""
    a, b, c = site.roots
    for source, target in ((a, c.parent / "t"), (b, a), (c.parent / "t", b)):
        source.rename(target)
    assert world.status("GET", "manifests/v1") == 503
    fresh = other(world, site.open(expected_id=site.id), tmp_path)
    assert_pulls(fresh.call, NAME, "v1", IMAGE)
    fresh.push("swapped")
    settled(fresh, site)


def test_one_lost_for_ever_and_replaced_by_an_empty_one(world: World, site: Site) -> None:
    lost = next(s.id for s in world.storage.membership.status() if s.place == str(site.roots[0]))
    shutil.rmtree(site.roots[0])
    site.roots[0].mkdir()
    image = world.push("meanwhile", "v1")
    assert list(site.roots[0].iterdir()) == []
    copied = list(world.storage.membership.join(str(site.roots[0]), lost))
    assert copied
    assert not problems(world.storage)
    assert site.equal
    site.break_(1, "refused")
    assert_pulls(world.call, NAME, "v1", image)
    assert_pulls(world.call, NAME, IMAGE.digest, IMAGE)
    site.mend()


def test_one_whose_place_was_taken_is_refused(world: World, site: Site, tmp_path: Path) -> None:
    lost = next(s.id for s in world.storage.membership.status() if s.place == str(site.roots[0]))
    aside = tmp_path / "aside"
    site.roots[0].rename(aside)
    site.roots[0].mkdir()
    list(world.storage.membership.join(str(site.roots[0]), lost))
    shutil.rmtree(site.roots[0])
    aside.rename(site.roots[0])
    fresh = other(world, site.open(expected_id=site.id), tmp_path)
    assert_pulls(fresh.call, NAME, "v1", IMAGE)
    assert "no member" in problems(fresh.storage)[str(site.roots[0])]


def test_a_crash_between_w_and_n(world: World, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Acknowledged by two, and no hint was written: a comparison finds it."""
    monkeypatch.setattr(hints.Hints, "note", lambda *args: None)
    site.break_(2, "refused")
    image = world.push("two have it")
    site.mend()
    world.storage.tend()
    assert not site.equal
    world.storage._tending._next_round = 0
    settled(world, site)
    assert_pulls(world.call, NAME, "new", image)


def test_a_crash_before_w(site: Site) -> None:
    """An unacknowledged version on one member may be seen or not; once seen, it stays."""
    key = "repositories/a/_tags/t/0000-x"
    put(Filesystem(site.roots[0]), key, b"")
    y = site.seen_from(1, 2)
    assert list(y.keys("repositories/", settle=True)) == []
    x = site.seen_from(0, 1)
    assert list(x.keys("repositories/", settle=True)) == [key]
    assert list(y.keys("repositories/", settle=True)) == [key]


def test_a_version_that_cannot_be_settled_is_not_told(site: Site) -> None:
    put(Filesystem(site.roots[0]), "repositories/a/_tags/t/0000-x", b"")
    site.break_(1, "read-only")
    with pytest.raises(Unavailable):
        list(site.seen_from(0, 1).keys("repositories/", settle=True))


def test_clocks_that_are_days_apart(world: World, site: Site, tmp_path: Path) -> None:
    """Order is by counters: a member whose times lie in the future changes nothing."""
    then = time.time() + 5 * 86400
    for path in site.roots[1].rglob("*"):
        os.utime(path, (then, then))
    for turn in range(3):
        image = world.push(f"clock {turn}", "v1")
        assert_pulls(world.call, NAME, "v1", image)
    settled(world, site)


def test_a_member_that_fails_in_mid_body(world: World, site: Site) -> None:
    """The reader goes on from the same offset on another member."""
    digest = digest_of(IMAGE.layer).removeprefix("sha256:")
    with world.storage.open(f"blobs/sha256/{digest[:2]}/{digest}") as reader:
        data = reader.read(1 << 20)
        preferred = reader._copies[0].member.name
        site.faults[preferred].set("refused")
        data += reader.read()
    assert data == IMAGE.layer


def test_nothing_is_told_of_a_key_that_too_few_deny(site: Site) -> None:
    x = site.seen_from(0)
    with pytest.raises(Unavailable):
        x.stat("absent")
    with pytest.raises(NotFound):
        site.seen_from(0, 1).stat("absent")


def test_a_link_whose_source_one_member_lacks(site: Site) -> None:
    storage = site.open()
    site.break_(2, "refused")
    put(storage, "source", b"bytes")
    site.break_(2, "")
    site.break_(0, "refused")
    storage.link("source", "target")
    assert read_all(Filesystem(site.roots[2]), "target", 9) == b"bytes"


def test_a_set_keeps_its_slices_short() -> None:
    """The background takes a fifth of a thread at most."""
    from distserver.registry import janitor

    assert tending.SLICE_SECONDS * 4 <= janitor.TEND_SECONDS


def test_a_push_does_not_rest_on_what_a_failed_one_left(
    world: World, site: Site, tmp_path: Path
) -> None:
    """Blobs and records that one member only has are seen: an acknowledgement needs two."""
    image = make_image("begun", 200_000)
    lone = Filesystem(site.roots[0], reserve_bytes=0)
    for blob in (*image.blobs, image.manifest):
        digits = digest_of(blob).removeprefix("sha256:")
        put(lone, f"blobs/sha256/{digits[:2]}/{digits}", blob)
        put(lone, f"repositories/{NAME}/_blobs/sha256/{digits}/0123456789abcdef", b"")
    site.break_(2, "refused")
    for blob in image.blobs:
        assert world.status("HEAD", f"blobs/{digest_of(blob)}") == 200, "a client skips its upload"
    assert push_manifest(world.call, NAME, "new", image.manifest).status == 201
    site.roots[0].rename(tmp_path / "lost")  # what mends in the background comes too late
    site.mend()
    assert_pulls(world.call, NAME, "new", image)
