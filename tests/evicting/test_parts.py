"""The parts of eviction that need no upstream: pulls, pins, room, allowance, standing."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from backends import Memory, put
from backends.base import Space
from distserver.cli import main
from distserver.evicting import pulls as module
from distserver.evicting.inuse import InUse, Used, list_file
from distserver.evicting.kubernetes import NotTold
from distserver.evicting.pins import Pinned, Pins
from distserver.evicting.published import Published
from distserver.evicting.pulls import Pulls
from distserver.evicting.room import Bounds
from distserver.evicting.standing import Standing, last_look
from distserver.oci.digests import Digest
from distserver.proxy.fetching.allowance import Allowance
from distserver.registry import layout
from distserver.registry.records import RecordStore

A, B = Digest.of(b"a"), Digest.of(b"b")
GIB = 1 << 30


def test_pulls_of_all_processes_are_known(tmp_path: Path) -> None:
    one, other = Pulls(tmp_path), Pulls(tmp_path)
    begin = time.time()
    one.note("x", A)
    other.note("x", A)
    other.note("y", B)
    assert one.last() == {}
    for each in (one, other):
        each.flush()
    found = one.last()
    assert set(found) == {("x", str(A)), ("y", str(B))}
    assert all(begin - 1 < when <= time.time() for when in found.values())


def test_pulls_are_bounded_and_the_newest_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    monkeypatch.setattr(module, "MAX_BYTES", 500)
    pulls = Pulls(tmp_path)
    for number in range(30):
        pulls.note(f"n{number:02}", A)
        pulls.flush()
    assert ("n29", str(A)) in pulls.last() and len(pulls.last()) == 3
    assert (tmp_path / "pulls").stat().st_size < 800


def test_a_torn_line_costs_itself_only(tmp_path: Path) -> None:
    pulls = Pulls(tmp_path)
    (tmp_path / "pulls").write_bytes(b'[1.0, "x", "sha\xff\n[2, 3]\nnull\n')
    pulls.note("x", A)
    pulls.flush()
    assert set(pulls.last()) == {("x", str(A))}


def test_what_cannot_be_written_is_written_later(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("no directory")
    pulls = Pulls(state)
    pulls.note("x", A)
    pulls.flush()
    state.unlink()
    pulls.flush()
    assert set(pulls.last()) == {("x", str(A))}


def test_a_time_in_the_future_is_now(tmp_path: Path) -> None:
    (tmp_path / "pulls").write_text(json.dumps([9e12, "x", str(A)]) + "\n")
    assert Pulls(tmp_path).last()["x", str(A)] <= time.time()


def test_nodes_tell_each_other_of_their_pulls(tmp_path: Path) -> None:
    backend = Memory()
    one, other = Published(backend, tmp_path / "1"), Published(backend, tmp_path / "2")
    assert one.exchange({("x", "a"): 5.0}) == {("x", "a"): 5.0}
    assert other.exchange({("x", "a"): 7.0, ("y", "b"): 6.0}) == {("x", "a"): 7.0, ("y", "b"): 6.0}
    assert one.exchange({("x", "a"): 5.0}) == {("x", "a"): 7.0, ("y", "b"): 6.0}
    assert len(list(backend.keys(layout.PULLS))) == 2


def test_pulls_are_published_every_ten_minutes_at_most(tmp_path: Path) -> None:
    backend = Memory()
    one = Published(backend, tmp_path)
    one.exchange({("x", "a"): 5.0})
    (first,) = backend.keys(layout.PULLS)
    one.exchange({("x", "a"): 9.0})
    assert list(backend.keys(layout.PULLS)) == [first]
    node = first.split("/")[2]
    put(backend, layout.pulls(node, int(time.time()) - 601), b"")
    put(backend, layout.pulls("gone", 1), b"")
    backend.delete(first)
    one.exchange({("x", "a"): 9.0})
    (second,) = backend.keys(layout.PULLS)
    assert second.split("/")[2] == node


def test_pins_come_and_go() -> None:
    backend = Memory()
    pins = Pins(backend, RecordStore(backend))
    for _ in range(2):
        pins.add("docker.io/library/nginx:1")
        pins.add("quay.io/*")
    assert pins.all() == ["docker.io/library/nginx:1", "quay.io/*"]
    assert len(list(backend.keys(layout.PINS))) == 2
    assert pins.remove("quay.io/*") and not pins.remove("quay.io/*")
    assert pins.all() == ["docker.io/library/nginx:1"]
    pins.add("quay.io/*")
    assert "quay.io/*" in pins.all()


@pytest.mark.parametrize(
    ("pattern", "holds"),
    [
        ("a/b:1", True),
        ("a/b:2", False),
        ("a/*", True),
        ("*", True),
        ("a/b:[12]", True),
        ("a/b", False),
        ("A/B:1", False),
        ("a/b@sha256:1?", True),
    ],
)
def test_what_a_pattern_holds(pattern: str, holds: bool) -> None:
    assert Pinned.of([pattern]).holds(["a/b:1", "a/b@sha256:12"]) is holds


def test_the_commands_of_pins(tmp_path: Path) -> None:
    env = {
        "DISTSERVER_STORAGE": str(tmp_path / "storage"),
        "DISTSERVER_STATE": str(tmp_path / "state"),
    }

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, arguments, env=env)
        return result.exit_code, result.output

    assert run("init")[0] == 0
    assert run("pin", "nginx", "quay.io/*", f"redis@{A}")[0] == 0
    listed = ["docker.io/library/nginx:latest", f"docker.io/library/redis@{A}", "quay.io/*"]
    assert run("pin", "--list") == (0, "\n".join(listed) + "\n")
    assert run("unpin", "nginx:latest")[0] == 0
    assert run("unpin", "nginx")[0] == 1
    assert run("pin")[0] == run("pin", "--list", "x")[0] == run("pin", "bad name")[0] == 2


@pytest.mark.parametrize(
    ("bounds", "pulled", "space", "excess"),
    [
        (Bounds(1000, 0, 0), 949, None, 0),
        (Bounds(1000, 0, 0), 950, None, 50),
        (Bounds(1000, 0, 0), 5000, None, 4100),
        (Bounds(0, 500, 0), 5000, Space(500, 500, 9), 0),
        (Bounds(0, 500, 0), 5000, Space(499, 499, 9), 1),
        (Bounds(0, -1, 300), 5000, Space(599, 299, 9), 1),
        (Bounds(0, -1, -1), 0, Space(5 * GIB, 3 * GIB, 9), 0),
        (Bounds(0, -1, -1), 0, Space(5 * GIB, 2 * GIB, 9), GIB),
        (Bounds(0, -1, -1), 0, Space(3 * GIB, 0, 9), 3 * GIB),
        (Bounds(1000, 500, 0), 1100, Space(100, 100, 9), 400),
        (Bounds(0, 500, 0), 5000, None, 0),
    ],
)
def test_how_much_has_to_go(bounds: Bounds, pulled: int, space: Space | None, excess: int) -> None:
    assert bounds.excess(pulled, 0, space) == excess


@pytest.mark.parametrize(
    ("bounds", "applies"),
    [
        (Bounds(0, 0, -1), False),
        (Bounds(0, -1, 0), False),
        (Bounds(0, -1, -1), True),
        (Bounds(1, 0, 0), True),
    ],
)
def test_whether_anything_may_have_to_go(bounds: Bounds, applies: bool) -> None:
    assert bounds.apply is applies


def test_an_allowance_is_exceeded_by_one_blob(tmp_path: Path) -> None:
    allowance = Allowance(tmp_path / "evicting" / "left")
    assert allowance.take(10) and allowance.left() is None
    allowance.grant(100, None)
    assert allowance.take(60) and allowance.take(60)
    assert allowance.left() == -20 and not allowance.take(1)
    allowance.grant(5, -20)
    assert allowance.take(1)


def test_what_was_taken_during_a_look_is_taken_off(tmp_path: Path) -> None:
    allowance = Allowance(tmp_path / "left")
    allowance.grant(100, None)
    before = allowance.left()
    assert allowance.take(70)
    allowance.grant(90, before)
    assert allowance.left() == 20


def test_what_ran_last_counts_while_a_source_is_silent(tmp_path: Path) -> None:
    lines, known = tmp_path / "list", tmp_path / "known"
    lines.write_text("a:1\n")
    sources = {"list": list_file(lines)}
    assert InUse(known, sources, str).now() == Used(frozenset({"a:1"}))
    lines.unlink()
    assert InUse(known, sources, str).now() == Used(frozenset({"a:1"}))
    with pytest.raises(NotTold):
        InUse(known, {**sources, "other": list_file(lines)}, str).now()
    assert InUse(known, {}, str).now() == Used()


def test_a_standing_is_told_to_all_processes(tmp_path: Path) -> None:
    assert last_look(tmp_path) is None
    Standing(5, 10, 3, "offline").save(tmp_path)
    found = last_look(tmp_path)
    assert found and found.hindrance == "images that should go stay: the mode is offline"
    (tmp_path / "evicting" / "standing.json").write_text("{")
    assert last_look(tmp_path) is None
