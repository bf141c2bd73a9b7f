"""Every backend under one name, so that each sentence of the contract is asked of all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backends import Backend, Filesystem, Memory, guarded, initialise, open_backend
from tests.backends.fake_os import FakeOs

Reopen = Callable[[], Backend]


def _memory(tmp_path: Path) -> Reopen:
    kept = Memory()
    return lambda: kept


def _filesystem(tmp_path: Path) -> Reopen:
    root = tmp_path / "root"
    root.mkdir()
    initialise(Filesystem(root))
    return lambda: Filesystem(root, reserve_bytes=0, reserve_inodes=0)


class Verbs:
    """The six verbs of a storage without its capabilities: as if it were on no local disk."""

    def __init__(self, inner: Backend) -> None:
        for verb in ("stat", "open", "create", "link", "delete", "keys"):
            setattr(self, verb, getattr(inner, verb))


def _guarded(tmp_path: Path) -> Reopen:
    files = _filesystem(tmp_path)
    return lambda: guarded(Verbs(files()), "mount")


def _replica(tmp_path: Path) -> Reopen:
    roots = [tmp_path / name for name in ("a", "b", "c")]
    for root in roots:
        root.mkdir()
    urls = [str(root) for root in roots]
    initialise(open_backend(*urls))
    return lambda: open_backend(*urls, reserve_bytes=0)


BACKENDS = {
    "memory": _memory,
    "filesystem": _filesystem,
    "guarded": _guarded,
    "replica": _replica,
}


@pytest.fixture(params=sorted(BACKENDS))
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Reopen:
    """Return a handle of one storage, another one at each call as another process would have."""
    return BACKENDS[request.param](tmp_path)


@pytest.fixture
def backend(reopen: Reopen) -> Backend:
    """One handle of that storage."""
    return reopen()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory of a file storage with an identity."""
    _filesystem(tmp_path)
    return tmp_path / "root"


@pytest.fixture
def files(root: Path) -> Filesystem:
    """A file storage without a reserve."""
    return Filesystem(root, reserve_bytes=0, reserve_inodes=0)


@pytest.fixture
def fake(root: Path, monkeypatch: pytest.MonkeyPatch) -> FakeOs:
    """The kernel calls of a file storage below root."""
    return FakeOs(str(root)).install(monkeypatch)
