"""Contract: a move is one step, on every backend that offers it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from backends import Backend, Memory, guarded, put, read_all
from backends.errors import InvalidKey, NotFound
from tests.backends.conftest import BACKENDS, Reopen
from tests.counts import count

WAIT_SECONDS = 20.0


def _mounted(tmp_path: Path) -> Reopen:
    """A file storage that is asked by the guard's threads, as on a network mount."""
    files = BACKENDS["filesystem"](tmp_path)

    def reopen() -> Backend:
        guard = guarded(files(), "mount")
        guard.is_local = lambda: False
        return guard

    return reopen


MOVING = {"memory": BACKENDS["memory"], "filesystem": BACKENDS["filesystem"], "mounted": _mounted}


@pytest.fixture(params=sorted(MOVING))
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Reopen:
    return MOVING[request.param](tmp_path)


@pytest.fixture
def moving(reopen: Reopen) -> Any:
    backend = reopen()
    put(backend, "source", b"bytes")
    return backend


def holds(backend: Backend, key: str) -> bytes | None:
    try:
        return read_all(backend, key, 99)
    except NotFound:
        return None


def test_a_moved_entry_has_its_new_name_only(moving: Any, reopen: Reopen) -> None:
    before = moving.stat("source")
    moving.move("source", "new/directory/target")
    assert holds(reopen(), "new/directory/target") == b"bytes"
    assert holds(reopen(), "source") is None
    assert moving.stat("new/directory/target") == before


def test_moving_replaces_whole_and_leaves_readers_alone(moving: Any) -> None:
    put(moving, "target", b"older and longer")
    with moving.open("target") as old, moving.open("source") as new:
        moving.move("source", "target")
        assert (old.read(), new.read()) == (b"older and longer", b"bytes")
    assert (holds(moving, "source"), holds(moving, "target")) == (None, b"bytes")


def test_a_move_of_nothing_is_not_found_and_changes_nothing(moving: Any) -> None:
    for source in ("absent", "no/such/directory"):
        for target in ("source", "other/target"):
            with pytest.raises(NotFound):
                moving.move(source, target)
    assert holds(moving, "source") == b"bytes"
    assert holds(moving, "other/target") is None


def test_an_entry_moves_onto_a_link_of_it(moving: Any) -> None:
    """As when what was restored from the trash goes there once more."""
    moving.link("source", "target")
    moving.move("source", "target")
    assert (holds(moving, "source"), holds(moving, "target")) == (None, b"bytes")


def test_an_entry_moved_to_itself_stays(moving: Any) -> None:
    moving.move("source", "source")
    assert holds(moving, "source") == b"bytes"


def test_the_last_entry_of_a_session_can_move(moving: Any) -> None:
    moving.move("source", "r/_uploads/s/part")
    moving.move("r/_uploads/s/part", "target")
    assert list(moving.keys("r/")) == []
    put(moving, "r/_uploads/s/part", b"again")
    assert holds(moving, "target") == b"bytes"


@pytest.mark.parametrize("wrong", ["", "../x", "tmp/x", "a/", ".hidden"])
def test_what_is_no_key_is_refused(moving: Any, wrong: str) -> None:
    for source, target in ((wrong, "target"), ("source", wrong)):
        with pytest.raises(InvalidKey):
            moving.move(source, target)
    assert holds(moving, "source") == b"bytes"


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def test_who_looks_for_both_names_finds_one(moving: Any, reopen: Reopen, hasty: None) -> None:
    rounds, other = range(count(50, 2000)), reopen()
    begun = threading.Barrier(2, timeout=WAIT_SECONDS)

    def looks() -> bool:
        for number in rounds:
            begun.wait()
            while holds(other, f"s/{number}") is not None:
                pass
            if holds(other, f"t/{number}") is None:
                begun.abort()
                return False
        return True

    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(looks)
        for number in rounds:
            put(moving, f"s/{number}", b"x")
            begun.wait()
            moving.move(f"s/{number}", f"t/{number}")
        assert found.result(WAIT_SECONDS)


def test_of_several_who_move_an_entry_one_does(moving: Any, reopen: Reopen, hasty: None) -> None:
    handles = [reopen() for _ in range(4)]

    def move(number: int) -> bool:
        try:
            handles[number].move("source", f"t/{number}")  # type: ignore[attr-defined]
        except NotFound:
            return False
        return True

    with ThreadPoolExecutor(len(handles)) as pool:
        for _ in range(count(20, 500)):
            put(moving, "source", b"bytes")
            done = list(pool.map(move, range(len(handles)), timeout=WAIT_SECONDS))
            (key,) = moving.keys("t/")
            assert (done.count(True), key) == (1, f"t/{done.index(True)}")
            moving.delete(key)


class Seen(dict[str, Any]):
    """Entries of a Memory; lets a test look at them after each change."""

    look: Callable[[], object]

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.look()

    def pop(self, *args: Any) -> Any:
        found = super().pop(*args)
        self.look()
        return found


@pytest.fixture
def seen() -> tuple[Memory, Seen]:
    """A storage with one entry, and its entries."""
    memory = Memory()
    put(memory, "source", b"bytes")
    memory._entries = entries = Seen(memory._entries)
    return memory, entries


def test_in_memory_one_of_both_names_is_there_at_each_moment(seen: tuple[Memory, Seen]) -> None:
    memory, entries = seen
    moments: list[list[str]] = []
    entries.look = lambda: moments.append(sorted(entries))
    memory.move("source", "target")
    assert moments == [["source", "target"], ["target"]]


def test_in_memory_what_is_written_during_a_move_stays(seen: tuple[Memory, Seen]) -> None:
    memory, entries = seen
    writer = threading.Thread(target=put, args=(memory, "source", b"again"))

    def look() -> None:
        if not writer.ident:
            writer.start()
            writer.join(0.2)  # it must not get there before the move is over

    entries.look = look
    memory.move("source", "target")
    writer.join(WAIT_SECONDS)
    assert (holds(memory, "source"), holds(memory, "target")) == (b"again", b"bytes")
