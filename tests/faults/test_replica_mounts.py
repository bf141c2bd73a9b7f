"""A replica set on three mounts, one of which fails in each way: clients notice little or nothing.

Its members are FUSE mounts, its server is real; pulls and pushes go on all the time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from tests.backends.test_prober import children
from tests.counts import count
from tests.faults.images import (
    Call,
    assert_pulls,
    assert_status,
    live,
    make_image,
    push_blob,
    push_manifest,
)
from tests.faults.mounted_set import MEMBERS, MountedSet, mounted_set
from tests.faults.pulling import Pull, paths_of, pulling
from tests.faults.pushing import Acknowledged, pushing
from tests.faults.troubles import TROUBLES, TROUBLES_OF_TWO, ordered
from tests.figures import record
from tests.links.readers import percentile
from tests.live import wait_for

pytestmark = pytest.mark.fault

IMAGE = make_image("held", 1_500_000)
NAME, TAG = "site/held", "v1"
TURNS = range(count(1, MEMBERS))
TROUBLE_SECONDS = count(3, 40) / 2
FIRST_SECONDS = count(1, 10) / 2
"""In which a pull may wait for a member until it is set aside."""
PULL_SECONDS = 2.0
AWAY_PUSHES = count(10, 200)
HARMLESS = ("slow 10 x", "bit-rotten")
"""Troubles of a member that gets all that is written."""
SOON_SECONDS = 15.0
"""For any answer when two mounts do not answer."""
REPAIR_SECONDS = float(count(60, 600))
"""At the pace of the background work: a fifth of a thread, on a busy machine."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountedSet]:
    """One set for all tests: each leaves it whole."""
    with mounted_set(tmp_path_factory.mktemp("site"), IMAGE) as made:
        yield made


def test_each_mount_is_probed_once(site: MountedSet) -> None:
    """By one child of one worker, which tells the other one."""
    probing = lambda: sum(len(children(pid)) for pid in site.server.workers())  # noqa: E731
    assert wait_for(lambda: probing() >= MEMBERS and probing(), 30, "probes") == MEMBERS


@dataclass
class Outcome:
    """How a set fared with a trouble of one member after another.

    pulls   all of them
    late    seconds of those that began when the trouble was no longer new
    acknowledged, refused    requests of pushes
    back    seconds until a member was whole again, at most
    """

    pulls: list[Pull] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    acknowledged: int = 0
    refused: int = 0
    back: float = 0.0

    def __str__(self) -> str:
        slowest = max(each.seconds for each in self.pulls)
        return (
            f"{len(self.pulls)} of {len(self.pulls)} pulls ok, p99 after the first"
            f" {FIRST_SECONDS} s {self.p99:.2f} s, the slowest of all {slowest:.2f} s;"
            f" {self.acknowledged} pushes acknowledged, {self.refused} refused;"
            f" whole again after {self.back:.0f} s"
        )

    @property
    def p99(self) -> float:
        return percentile(self.late, 0.99)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_one_mount_in_turn(site: MountedSet, trouble: str) -> None:
    """No pull fails, pushes go on, and the member gets what it missed without a command.

    But for an empty one in its place: that may as well be no mount at all, so nothing is written
    to it before an operator says `replica join`.
    """
    outcome = Outcome()
    for number in TURNS:
        _endure(site, trouble, number, outcome)
    record(
        "Replica set",
        f"one mount of three {trouble} for {TROUBLE_SECONDS} s under pulls and pushes,"
        f" {len(TURNS)} in turn",
        "pulls 100 % ok, p99 < 2 s after the first 5 s; pushes ok at W; repaired without an"
        " operator",
        str(outcome),
    )
    assert outcome.p99 < PULL_SECONDS


def _endure(site: MountedSet, trouble: str, number: int, outcome: Outcome) -> None:
    """Let a mount fail and come back under load; then it stands in for another one."""
    with pulling(site.server, paths_of(NAME, IMAGE, TAG, IMAGE.digest)) as pulls:
        with pushing(site.server, f"{trouble} {number}", threads=1) as acknowledged:
            wait_for(lambda: len(acknowledged) and len(pulls) > 10, 30, "pulls and pushes")
            begun, before = time.monotonic(), len(acknowledged)
            with TROUBLES[trouble](site, number):
                _last(trouble, acknowledged)
                if trouble not in HARMLESS:
                    wait_for(lambda: site.lacks(number), 60, "push that it misses")
        mended = time.monotonic()
        wait_for(site.is_whole, REPAIR_SECONDS, f"whole member after: {trouble}")
    outcome.back = max(outcome.back, time.monotonic() - mended)
    outcome.late += _late(pulls, begun, mended)
    outcome.pulls += pulls
    outcome.acknowledged += len(acknowledged)
    outcome.refused += len(acknowledged.refused)
    assert [each.wrong for each in pulls if each.wrong] == []
    assert len(acknowledged) > before
    _assert_kept(site, number, acknowledged)


def _last(trouble: str, acknowledged: Acknowledged) -> None:
    """Wait while the trouble lasts."""
    wanted = len(acknowledged) + (AWAY_PUSHES if trouble == "back after an hour" else 0)
    threading.Event().wait(TROUBLE_SECONDS)
    wait_for(lambda: len(acknowledged) >= wanted, 300, "pushes meanwhile")


def _late(pulls: Sequence[Pull], begun: float, ended: float) -> list[float]:
    """Seconds of the pulls that began after the first seconds of a trouble, and before its end."""
    return [each.seconds for each in pulls if begun + FIRST_SECONDS < each.begun < ended]


def _assert_kept(site: MountedSet, number: int, acknowledged: Acknowledged) -> None:
    """All that was acknowledged is there while another member is away; the rest was refused."""
    assert acknowledged.unanswered == 0
    for answer in acknowledged.refused:
        assert_status(answer, 503)
    with ordered(errno="EIO")(site, (number + 1) % MEMBERS):
        assert acknowledged.lost(site.server) == []
        assert_pulls(live(site.server), NAME, TAG, IMAGE)
    wait_for(site.is_whole, REPAIR_SECONDS, "peace")


@pytest.mark.parametrize("trouble", TROUBLES_OF_TWO)
def test_two_mounts_are_down(site: MountedSet, trouble: str) -> None:
    """Pulls of held digests go on; tags and pushes are refused soon and in words."""
    call, refused = live(site.server), []
    with pulling(site.server, paths_of(NAME, IMAGE, IMAGE.digest)) as pulls:
        begun = time.monotonic()
        with TROUBLES_OF_TWO[trouble](site, 0):
            while time.monotonic() < begun + TROUBLE_SECONDS:
                refused += [_refused(call, method) for method in ("GET", "PUT", "POST")]
        mended = time.monotonic()
        wait_for(lambda: _is_acknowledged(call), REPAIR_SECONDS, f"pushes after: {trouble}")
        wait_for(site.is_whole, REPAIR_SECONDS, f"whole members after: {trouble}")
    assert [each.wrong for each in pulls if each.wrong] == []
    late = percentile(_late(pulls, begun, mended), 0.99)
    record(
        "Replica set",
        f"two mounts of three {trouble} for {TROUBLE_SECONDS} s",
        "pulls of held digests ok, pushes 503",
        f"{len(pulls)} of {len(pulls)} pulls by digest ok, p99 after the first {FIRST_SECONDS} s"
        f" {late:.2f} s; {len(refused)} tags and pushes 503 in {max(refused):.1f} s at most",
    )
    assert max(each.seconds for each in pulls) < SOON_SECONDS


def _is_acknowledged(call: Call) -> bool:
    """Push again what is there, by tag; whether that is acknowledged."""
    return push_manifest(call, NAME, TAG, IMAGE.manifest).status == 201


def _refused(call: Call, method: str) -> float:
    """Pull by tag, push a manifest or a blob; it is refused. Return how long that took."""
    begun = time.monotonic()
    if method == "GET":
        answer = call("GET", f"/v2/{NAME}/manifests/{TAG}")
    elif method == "PUT":
        answer = push_manifest(call, NAME, TAG, IMAGE.manifest)
    else:
        answer = push_blob(call, NAME, b"new")
    taken = time.monotonic() - begun
    assert_status(answer, 503)
    assert answer.headers["Retry-After"]
    assert taken < SOON_SECONDS
    return taken
