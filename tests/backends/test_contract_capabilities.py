"""Contract: adopt, revision, local_path, space and sweep, on every backend that offers them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TypeVar

import pytest

from backends import Backend, Filesystem, put, read_all
from backends.base import (
    Adopts,
    Copies,
    Erases,
    Forms,
    Guarded,
    HasSpace,
    LocalPath,
    Moves,
    Proves,
    Revises,
    Settles,
    Sweeps,
    Tends,
    Watched,
)
from backends.errors import NotFound, Unavailable
from tests.backends.conftest import BACKENDS, Reopen

_T = TypeVar("_T")
OFFERED = {
    "memory": {Moves},
    "filesystem": {Adopts, Moves, Revises, LocalPath, HasSpace, Sweeps, Guarded},
    "guarded": {Watched},
    "replica": {Copies, Erases, HasSpace, Sweeps, Proves, Settles, Tends, Forms, Watched},
}
EVERY = set[type]().union(*OFFERED.values())


@pytest.fixture
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Reopen:
    """The storages that offer it, as `offered` says."""
    return BACKENDS[request.param](tmp_path)


def offered(capability: type) -> pytest.MarkDecorator:
    """Run a test on each storage that offers a capability."""
    names = [name for name, offered in OFFERED.items() if capability in offered]
    return pytest.mark.parametrize("reopen", names, indirect=True)


def _offering(backend: Backend, capability: type[_T]) -> _T:
    assert isinstance(backend, capability)
    return backend


@pytest.mark.parametrize("name", BACKENDS)
def test_each_backend_offers_what_we_count_on(name: str, tmp_path: Path) -> None:
    backend = BACKENDS[name](tmp_path)()
    assert {one for one in EVERY if isinstance(backend, one)} == OFFERED[name]


def _finished(tmp_path: Path, data: bytes = b"finished") -> Path:
    path = tmp_path / "finished"
    path.write_bytes(data)
    return path


@offered(Adopts)
def test_an_adopted_file_is_an_entry_and_gone_from_its_place(
    backend: Backend, reopen: Reopen, tmp_path: Path
) -> None:
    path = _finished(tmp_path)
    _offering(backend, Adopts).adopt(str(path), "new/directory/entry")
    assert read_all(reopen(), "new/directory/entry", 99) == b"finished"
    assert not path.exists()


@offered(Adopts)
def test_adopting_replaces_whole_and_leaves_readers_alone(backend: Backend, tmp_path: Path) -> None:
    adopts = _offering(backend, Adopts)
    put(backend, "entry", b"older and longer")
    with backend.open("entry") as reader:
        adopts.adopt(str(_finished(tmp_path)), "entry")
        assert reader.read() == b"older and longer"
    assert read_all(backend, "entry", 99) == b"finished"


def test_adopting_the_entry_itself_under_another_name(files: Filesystem, tmp_path: Path) -> None:
    """A rename onto another name of the same file does nothing; the path must be gone still."""
    path = _finished(tmp_path)
    os.link(path, tmp_path / "root" / "entry")
    files.adopt(str(path), "entry")
    assert read_all(files, "entry", 99) == b"finished"
    assert not path.exists()


@offered(Adopts)
@pytest.mark.parametrize("kind", ["absent", "symbolic link", "pipe", "no such directory"])
def test_adopting_what_is_no_file_is_not_found(backend: Backend, tmp_path: Path, kind: str) -> None:
    adopts = _offering(backend, Adopts)
    path = tmp_path / "place"
    if kind == "symbolic link":
        path.symlink_to(_finished(tmp_path))
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "no such directory":
        path = path / "x"
    with pytest.raises(NotFound):
        adopts.adopt(str(path), "entry")
    with pytest.raises(NotFound):
        backend.stat("entry")


@offered(Adopts)
def test_adopting_from_another_file_system_is_unavailable(backend: Backend, tmp_path: Path) -> None:
    adopts = _offering(backend, Adopts)
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    path = elsewhere / f"adopt-{os.getpid()}"
    path.write_bytes(b"x")
    try:
        with pytest.raises(Unavailable):
            adopts.adopt(str(path), "entry")
        assert path.read_bytes() == b"x"
    finally:
        path.unlink()


def _settled_revision(revises: Revises, prefix: str) -> tuple[int, ...]:
    """Return a token as soon as there is one: no sooner than 2 s after the last change."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if (token := revises.revision(prefix)) is not None:
            return token
        time.sleep(0.05)
    raise AssertionError("no revision within 10 s")


def _age(root: Path, directory: str, seconds: float) -> None:
    """Set the modification time of a directory back; its change time cannot be."""
    then = time.time() - seconds
    os.utime(root / directory, (then, then))


@offered(Revises)
def test_a_young_directory_has_no_revision(backend: Backend) -> None:
    revises = _offering(backend, Revises)
    put(backend, "d/entry", b"")
    assert revises.revision("d/") is None


@offered(Revises)
def test_a_missing_directory_has_no_revision(backend: Backend) -> None:
    assert _offering(backend, Revises).revision("absent/") is None


def test_a_future_directory_has_no_revision(files: Filesystem, root: Path) -> None:
    put(files, "d/entry", b"")
    _age(root, "d", -86400)
    assert files.revision("d/") is None


def test_a_changed_status_alone_makes_a_directory_young(files: Filesystem, root: Path) -> None:
    """A restore sets old modification times; only the change time tells."""
    put(files, "d/entry", b"")
    _age(root, "d", 86400)
    assert files.revision("d/") is None


def test_a_revision_stays_until_a_key_changes(
    files: Filesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that is 10 s ahead, so that no test must wait for 2 s."""
    if not files._root.held().local:
        pytest.skip("this file system's times are not to be trusted")
    monkeypatch.setattr("backends.filesystem.time.time_ns", _ahead(time.time_ns))
    for key in ("d/one", "d/two"):
        put(files, key, b"")
    seen = [files.revision("d/")]
    assert seen[0] is not None and files.revision("d/") == seen[0]
    for change in (
        lambda: put(files, "d/three", b""),
        lambda: put(files, "d/one", b"replaced"),
        lambda: files.delete("d/two"),
        lambda: files.link("d/one", "d/two"),
        lambda: files.link("d/one", "d/three"),
    ):
        _next_tick(files._root.path)
        change()
        seen.append(files.revision("d/"))
    assert len(set(seen)) == 6
    put(files, "d/below/entry", b"")
    again = files.revision("d/")
    put(files, "d/below/entry", b"other")
    assert files.revision("d/") == again, "only the keys directly in it count"


def _ahead(clock):  # type: ignore[no-untyped-def]
    return lambda: clock() + 10 * 10**9


def _next_tick(root: str) -> None:
    """Wait until the file system's clock has moved on: that is what the 2 s are for."""
    probe = Path(root, "tmp", "tick")
    probe.touch()
    before, deadline = probe.stat().st_mtime_ns, time.monotonic() + 5
    while probe.stat().st_mtime_ns == before and time.monotonic() < deadline:
        probe.touch()
    probe.unlink()


@offered(Revises)
def test_a_revision_comes_after_two_seconds(backend: Backend) -> None:
    revises = _offering(backend, Revises)
    if isinstance(backend, Filesystem) and not backend._root.held().local:
        pytest.skip("this file system's times are not to be trusted")
    put(backend, "d/entry", b"")
    began = time.monotonic()
    _settled_revision(revises, "d/")
    assert time.monotonic() - began > 1.5


def test_a_network_file_system_has_no_revision(
    files: Filesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.mounts._type_of_mount", lambda mount_id: "nfs4")
    monkeypatch.setattr("backends.filesystem.time.time_ns", _ahead(time.time_ns))
    put(files, "d/entry", b"")
    assert files.revision("d/") is None


@offered(LocalPath)
def test_the_local_path_holds_the_bytes(backend: Backend) -> None:
    local = _offering(backend, LocalPath)
    put(backend, "d/entry", b"bytes")
    assert Path(local.local_path("d/entry")).read_bytes() == b"bytes"
    with pytest.raises(NotFound):
        local.local_path("absent")


@offered(HasSpace)
def test_space_is_told_without_the_reserve(backend: Backend) -> None:
    space = _offering(backend, HasSpace).space()
    assert 0 <= space.usable_bytes <= space.free_bytes
    assert space.full == (space.usable_bytes <= 0 or space.usable_inodes <= 0)


@offered(Sweeps)
def test_sweep_removes_what_dead_writers_left_and_no_entry(backend: Backend) -> None:
    sweeps = _offering(backend, Sweeps)
    put(backend, "entry", b"kept")
    assert sweeps.sweep(0) == 0
    writer = backend.create()
    writer.write(b"left behind")
    assert sweeps.sweep(3600) == 0
    assert sweeps.sweep(0) >= 1  # a set has one on each member
    writer.abort()
    assert read_all(backend, "entry", 9) == b"kept"


@offered(Sweeps)
def test_a_writer_whose_file_was_swept_commits_nothing(backend: Backend) -> None:
    sweeps = _offering(backend, Sweeps)
    with backend.create() as writer:
        writer.write(b"x")
        sweeps.sweep(0)
        with pytest.raises(Unavailable):
            writer.commit("entry")
    with pytest.raises(NotFound):
        backend.stat("entry")
