"""Durable: what was acknowledged survives a loss of power, whatever other processes left undone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends import Filesystem, initialise, put, read_all
from backends.errors import NotFound
from tests.backends.power_cut import PowerCut
from tests.counts import count

KEYS = ["x", "d/a", "d/b", "d/e/f/c", "r/_uploads/s/1", "r/_uploads/s/2", "r/_uploads/t/1"]


class Step(NamedTuple):
    """One change by one of two processes, which dies before its call of that number (0: never)."""

    verb: str
    process: int
    key: str
    source: str
    dies_at: int


class Died(BaseException):
    """Stands for the end of a process."""


_STEPS = st.lists(
    st.builds(
        Step,
        verb=st.sampled_from(["put", "put", "link", "move", "delete", "adopt"]),
        process=st.integers(0, 1),
        key=st.sampled_from(KEYS),
        source=st.sampled_from(KEYS),
        dies_at=st.one_of(st.just(0), st.just(0), st.integers(1, 30)),
    ),
    min_size=1,
    max_size=10,
)


class World:
    """Two processes over one disk, and what was acknowledged to their callers.

    moving  the two keys of a move that nobody finished, one of which has what was acknowledged
    """

    def __init__(self, root: Path, disk: PowerCut) -> None:
        self.root, self.disk = root, disk
        self.processes = [self._start(), self._start()]
        self.acknowledged: dict[str, bytes | None] = {}
        self.given: dict[str, set[bytes | None]] = {key: {None} for key in KEYS}
        self.moving: dict[tuple[str, str], bytes] = {}
        self.number = 0

    def _start(self) -> Filesystem:
        return Filesystem(self.root, reserve_bytes=0, reserve_inodes=0)

    def take(self, step: Step) -> None:
        """Do it, then ask what would be left of all that was acknowledged so far."""
        touched = {step.key, step.source} if step.verb == "move" else {step.key}
        before = {key: self.acknowledged.pop(key) for key in touched & self.acknowledged.keys()}
        self.moving = {keys: data for keys, data in self.moving.items() if not touched & {*keys}}
        self.disk.reset()
        if step.dies_at:
            self.disk.die_raising(step.dies_at, Died)
        try:
            self.acknowledged.update(self._change(step))
        except Died:
            self.processes[step.process] = self._start()
            if step.verb == "move" and (data := before.get(step.source)) is not None:
                self.moving[step.source, step.key] = data
        except NotFound:
            self.acknowledged.update(before)
        self._look(step)

    def _look(self, step: Step) -> None:
        for key, data in self.acknowledged.items():
            assert self.disk.survives(key) == data, f"{key} is lost after {step}"
        for keys, data in self.moving.items():
            assert data in map(self.disk.survives, keys), f"{keys} are lost after {step}"
        for key, known in self.given.items():
            assert self.disk.survives(key) in known, f"{key} is there in part after {step}"

    def _change(self, step: Step) -> dict[str, bytes | None]:
        """Return what is acknowledged by it."""
        backend, self.number = self.processes[step.process], self.number + 1
        data = b"%d" % self.number
        self.given[step.key] |= {data} | self.given[step.source]
        gone: dict[str, bytes | None] = {}
        if step.verb == "put":
            put(backend, step.key, data)
        elif step.verb == "adopt":
            backend.adopt(self.disk.outside("spare", data), step.key)
        elif step.verb == "delete":
            backend.delete(step.key)
            return {step.key: None}
        elif step.verb == "move":
            backend.move(step.source, step.key)
            gone = {step.source: None}
        else:
            backend.link(step.source, step.key)
        return gone | {step.key: read_all(backend, step.key, 99)}


@settings(
    max_examples=count(150, 3000), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(steps=_STEPS)
def test_what_was_acknowledged_survives(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        root = Path(directory, "root")
        root.mkdir()
        disk = PowerCut(str(root))
        disk.install(patch)
        store_id = initialise(Filesystem(root))
        assert disk.survives(f"_store/{store_id}")
        world = World(root, disk)
        for step in steps:
            world.take(step)


def test_the_disk_forgets_what_was_not_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the test above would prove nothing."""
    root = tmp_path / "root"
    root.mkdir()
    disk = PowerCut(str(root))
    disk.install(monkeypatch)
    initialise(Filesystem(root))
    monkeypatch.setattr("backends.filesystem.durable.settle", lambda *_: None)
    monkeypatch.setattr("backends.files.settle", lambda *_: None)
    put(Filesystem(root, reserve_bytes=0), "d/key", b"x")
    assert disk.survives("d/key") is None
