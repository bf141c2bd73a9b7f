"""A registry on each kind of storage: one that moves, and some that take two steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends import Backend, Filesystem, Memory, ReplicaSet, initialise, open_backend
from backends.base import Watched
from distserver.registry import Registry, local_registry
from tests.gc.storages import TwoSteps


def _memory(_: Path) -> Backend:
    return Memory()


def _two_steps(_: Path) -> Backend:
    return TwoSteps(Memory())


def _directory(path: Path) -> Backend:
    return Filesystem(str(path), reserve_bytes=0)


def _set(path: Path) -> Backend:
    places = [path / name for name in "abc"]
    for place in places:
        place.mkdir()
    made = open_backend(*map(str, places), reserve_bytes=0)
    assert isinstance(made, ReplicaSet)
    return made


@pytest.fixture(params=[_memory, _two_steps, _directory, _set], ids=lambda make: make.__name__[1:])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    backend = request.param(tmp_path)
    if not isinstance(backend, Memory | TwoSteps):
        initialise(backend)
    yield local_registry(backend)
    if isinstance(backend, Watched):
        backend.unwatch()
