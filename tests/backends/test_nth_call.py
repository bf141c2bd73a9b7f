"""Every kernel call of every change fails once: an error of the contract or success, never loss."""

from __future__ import annotations

import errno
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from backends import Filesystem, initialise, put, read_all
from backends.errors import Full, NotFound, StorageError, Unavailable
from tests.backends.fake_os import ERRORS, FakeOs
from tests.figures import record

OLD, NEW = b"old" * 10, b"new bytes" * 20_000
LIMIT = 1_000_000
_MOST_CALLS = 200
_LOST_REPLIES = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT)
"""What a network file system says of a call that may have taken effect."""


@pytest.fixture(autouse=True)
def _no_kept_records(caplog: pytest.LogCaptureFixture) -> None:
    """Records of a test hold errors, these hold frames, and these hold descriptors."""
    caplog.set_level(logging.CRITICAL, "backends")


class Place(NamedTuple):
    """A fresh storage with one handle in use, and a file beside it to adopt."""

    files: Filesystem
    root: Path

    @property
    def spare(self) -> Path:
        return self.root.with_name("spare")


class Act(NamedTuple):
    """A change, the key that it is about, and what a reader finds before and after it.

    source  of a move: who finds no bytes there finds them under the key
    """

    prepare: Callable[[Place], None]
    act: Callable[[Place], None]
    key: str
    before: bytes | None
    after: bytes | None
    source: str = ""


def _put(key: str, data: bytes) -> Callable[[Place], None]:
    return lambda place: put(place.files, key, data)


def _link(place: Place) -> None:
    place.files.link("source", "d/target")


def _move(place: Place) -> None:
    place.files.move("source", "d/target")


def _adopt(place: Place) -> None:
    place.files.adopt(str(place.spare), "d/adopted")


def _adopt_linked(place: Place) -> None:
    _put("d/other", b"x")(place)
    os.link(place.spare, place.root / "d" / "adopted")


def _both(*steps: Callable[[Place], None]) -> Callable[[Place], None]:
    return lambda place: [step(place) for step in steps] and None


def _nothing(place: Place) -> None:
    """Start from a storage with an identity and no more."""


ACTS = {
    "put": Act(_nothing, _put("a/b/key", NEW), "a/b/key", None, NEW),
    "replace": Act(_put("a/key", OLD), _put("a/key", NEW), "a/key", OLD, NEW),
    "part": Act(_nothing, _put("r/_uploads/s/p", NEW), "r/_uploads/s/p", None, NEW),
    "link": Act(_put("source", NEW), _link, "d/target", None, NEW),
    "link over": Act(
        _both(_put("source", NEW), _put("d/target", OLD)), _link, "d/target", OLD, NEW
    ),
    "link again": Act(_both(_put("source", NEW), _link), _link, "d/target", NEW, NEW),
    "move": Act(_put("source", NEW), _move, "d/target", None, NEW, "source"),
    "move over": Act(
        _both(_put("source", NEW), _put("d/target", OLD)), _move, "d/target", OLD, NEW, "source"
    ),
    "move linked": Act(_both(_put("source", NEW), _link), _move, "d/target", NEW, NEW, "source"),
    "delete": Act(_put("d/key", OLD), lambda p: p.files.delete("d/key"), "d/key", OLD, None),
    "delete part": Act(
        _put("r/_uploads/s/p", OLD),
        lambda p: p.files.delete("r/_uploads/s/p"),
        "r/_uploads/s/p",
        OLD,
        None,
    ),
    "adopt": Act(_nothing, _adopt, "d/adopted", None, NEW),
    "adopt over": Act(_put("d/adopted", OLD), _adopt, "d/adopted", OLD, NEW),
    "adopt linked": Act(_adopt_linked, _adopt, "d/adopted", NEW, NEW),
}


def _fresh(tmp_path: Path, number: int, act: Act) -> Place:
    root = tmp_path / str(number) / "root"
    root.mkdir(parents=True)
    initialise(Filesystem(root))
    place = Place(Filesystem(root, reserve_bytes=0, reserve_inodes=0), root)
    place.spare.write_bytes(NEW)
    act.prepare(place)
    return place


def _found(root: Path, key: str) -> bytes | None:
    """What another process reads afterwards."""
    try:
        return read_all(Filesystem(root), key, LIMIT)
    except NotFound:
        return None


def _left_open(root: Path) -> list[str]:
    """The descriptors of this process that are in a storage."""
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return [os.readlink(link) for link in links if _leads_into(root, link)]


def _leads_into(root: Path, link: str) -> bool:
    try:
        return os.readlink(link).startswith(str(root))
    except FileNotFoundError:  # the one that listed them
        return False


def _judge(act: Act, place: Place, outcome: StorageError | None) -> None:
    """Success means the new bytes; Full the old ones; Unavailable one of both, whole."""
    found = _found(place.root, act.key)
    if outcome is None:
        assert found == act.after, "success with loss"
    elif isinstance(outcome, Full):
        assert found == act.before, "Full, but something became visible"
    else:
        assert isinstance(outcome, Unavailable), outcome
        assert found in (act.before, act.after), "half an entry"
    if act.source:
        left = _found(place.root, act.source)
        assert (left == NEW) if found != NEW else (left in (None, NEW)), "lost on the way"
        assert outcome or left is None, "moved, and still there"
    fresh = Filesystem(place.root)
    fresh.sweep(0)
    assert os.listdir(place.root / "tmp") == [], "a temporary is left"
    for key in fresh.keys(""):
        assert read_all(fresh, key, LIMIT) in (OLD, NEW, b"x", b'{"format": 1}\n')


def _fail_each(
    fake: FakeOs, tmp_path: Path, act: Act, code: int, after: bool, cold: bool
) -> tuple[int, int]:
    """Fail the first, the second … call until the act makes no more; return (calls, errors)."""
    errors = 0
    for number in range(1, _MOST_CALLS):
        place = _fresh(tmp_path, number, act)
        place.files._root.forget() if cold else place.files.space()
        fake.fail_nth(number, code, after)
        outcome = _outcome(act, place)
        reached = len(fake.calls) >= number
        fake.reset()
        _only_the_root_is_open(place)
        _judge(act, place, outcome)
        if not reached:
            assert outcome is None
            return number - 1, errors
        errors += outcome is not None
        _again(act, place)
    raise AssertionError("it never ends")


def _outcome(act: Act, place: Place) -> StorageError | None:
    """A copy of the error: the frames behind the real one keep descriptors open."""
    try:
        act.act(place)
    except StorageError as exc:
        return type(exc)(str(exc))
    return None


def _only_the_root_is_open(place: Place) -> None:
    place.files._root.forget()
    if _left_open(place.root):
        gc.collect()
    assert _left_open(place.root) == []


def _again(act: Act, place: Place) -> None:
    """The same handle works at once, without a restart."""
    place.spare.write_bytes(NEW)
    if act.source:
        act.prepare(place)
    act.act(place)
    assert _found(place.root, act.key) == act.after


@pytest.fixture(scope="module")
def tally() -> Iterator[dict[tuple[str, int], tuple[int, int]]]:
    """(act, errno) -> (calls, errors) of those that passed; a figure only of all of them."""
    passed: dict[tuple[str, int], tuple[int, int]] = {}
    yield passed
    if len(passed) < len(ACTS) * len(ERRORS):
        return
    calls, errors = (sum(column) for column in zip(*passed.values(), strict=True))
    record(
        "n-th file-system call fails",
        f"each call in turn of {len(ACTS)} storage operations (put, link, move, delete, adopt) "
        f"fails with {', '.join(errno.errorcode[code] for code in ERRORS)}",
        "never success with loss; no descriptor or temporary left after the sweep",
        f"{calls} failed calls: {errors} clean errors, {calls - errors} successes, 0 lost, 0 left",
    )


@pytest.mark.parametrize("code", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("name", ACTS)
def test_any_call_may_fail(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tally: dict[tuple[str, int], tuple[int, int]],
    name: str,
    code: int,
) -> None:
    fake = FakeOs(sync=False).install(monkeypatch)
    calls, errors = _fail_each(fake, tmp_path, ACTS[name], code, after=False, cold=False)
    assert calls >= 4 and errors >= 2
    tally[name, code] = calls, errors


@pytest.mark.parametrize("code", _LOST_REPLIES, ids=errno.errorcode.get)
@pytest.mark.parametrize("name", ACTS)
def test_any_reply_may_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    """The call takes effect and fails all the same, as over a network."""
    fake = FakeOs(sync=False).install(monkeypatch)
    calls, _ = _fail_each(fake, tmp_path, ACTS[name], code, after=True, cold=False)
    assert calls >= 4


@pytest.mark.parametrize("name", ["put", "link", "delete", "adopt"])
def test_any_call_of_a_first_use_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """With the opening and the recognising of the root among the calls."""
    fake = FakeOs(sync=False).install(monkeypatch)
    calls, _ = _fail_each(fake, tmp_path, ACTS[name], errno.EIO, after=False, cold=True)
    assert calls >= 10


@pytest.mark.parametrize("name", ACTS)
def test_the_process_may_die_at_any_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What another process finds is the old or the new entry, whole; the sweep takes the rest."""
    fake, act = FakeOs(sync=False).install(monkeypatch), ACTS[name]
    for number in range(1, _MOST_CALLS):
        place = _fresh(tmp_path, number, act)
        killed = _dies(lambda: fake.die_at(number), lambda: act.act(place))  # noqa: B023
        _judge(act, place, Unavailable() if killed else None)
        if not killed:
            assert number > 4
            return
    raise AssertionError("it never ends")


def _dies(arm: Callable[[], None], act: Callable[[], None]) -> bool:
    """Do it in a fork; return whether that was killed. Any error in it fails the test."""
    child = os.fork()
    if child == 0:
        arm()
        try:
            act()
        finally:
            os._exit(1 if sys.exc_info()[0] else 0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9


def test_any_call_of_initialise_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeOs(sync=False).install(monkeypatch)
    for number in range(1, _MOST_CALLS):
        root = tmp_path / str(number)
        root.mkdir()
        fake.fail_nth(number, errno.EIO)
        try:
            initialise(Filesystem(root))
        except Unavailable:
            fake.reset()
            initialise(Filesystem(root))
        reached = len(fake.calls) >= number
        fake.reset()
        assert len(list((root / "_store").iterdir())) == 1, "a second identity"
        if not reached and number > 20:
            return
    raise AssertionError("it never ends")
