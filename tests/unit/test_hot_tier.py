"""Hot copies: bounded, made by one at a time, safe to lose, proved before they are trusted."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backends.errors import RangeInvalid
from distserver.oci.digests import Digest
from distserver.registry.hot import Tier


def of(data: bytes) -> Digest:
    return Digest.of(data, "sha256")


def keep(tier: Tier, data: bytes) -> Digest:
    filling = tier.filling(of(data), len(data))
    assert filling
    filling.write(data)
    filling.keep()
    return of(data)


def read(tier: Tier, digest: Digest) -> bytes | None:
    reader = tier.open(digest)
    if reader is None:
        return None
    with reader:
        return reader.read()


@pytest.fixture
def tier(tmp_path: Path) -> Tier:
    return Tier(tmp_path / "hot", 1000, 0)


def test_a_copy_is_seen_by_others_once_it_is_kept(tier: Tier, tmp_path: Path) -> None:
    other = Tier(tmp_path / "hot", 1000, 0)
    digest = of(b"copy")
    assert (tier.open(digest), tier.size(digest)) == (None, None)
    filling = tier.filling(digest, 4)
    assert filling
    filling.write(b"copy")
    assert other.open(digest) is None
    filling.keep()
    assert read(other, digest) == b"copy"
    assert other.size(digest) == 4
    with other.open(digest, 1, 3) as reader:  # type: ignore[union-attr]
        assert (reader.read(), reader.size) == (b"op", 4)
        assert reader.fileno() >= 0  # type: ignore[attr-defined]
    with pytest.raises(RangeInvalid):
        other.open(digest, 0, 5)


def test_one_at_a_time_writes_a_copy(tier: Tier, tmp_path: Path) -> None:
    digest = of(b"copy")
    first = tier.filling(digest, 4)
    assert first
    assert Tier(tmp_path / "hot", 1000, 0).filling(digest, 4) is None
    first.write(b"co")
    first.close()
    assert read(tier, digest) is None
    assert keep(tier, b"copy") == digest
    assert tier.filling(digest, 4) is None


def test_what_a_dead_process_began_is_begun_anew(tier: Tier, tmp_path: Path) -> None:
    begin = "; ".join(
        (
            "import os, sys; from pathlib import Path; from distserver.registry.hot import Tier",
            "from distserver.oci.digests import Digest",
            f"filling = Tier(Path({str(tmp_path / 'hot')!r}), 1000, 0).filling("
            f"Digest.parse({str(of(b'copy'))!r}), 4)",
            "filling.write(b'wrong, and more'); os._exit(0)",
        )
    )
    subprocess.run([sys.executable, "-c", begin], check=True, timeout=30)
    assert list((tmp_path / "hot" / "filling").iterdir())
    assert read(tier, keep(tier, b"copy")) == b"copy"


def test_what_a_dead_process_began_goes_after_a_day(tier: Tier, tmp_path: Path) -> None:
    keep(tier, b"copy")
    left = tmp_path / "hot" / "filling" / "sha256-00"
    left.write_bytes(b"half")
    assert tier.sweep() == 0
    os.utime(left, (1, 1))
    assert tier.sweep() == 1
    assert not left.exists()
    assert read(tier, of(b"copy"))


def test_the_longest_unused_go_first(tier: Tier, tmp_path: Path) -> None:
    digests = [keep(tier, bytes([n]) * 300) for n in range(3)]
    for age, digest in zip((300, 200, 100), digests, strict=True):
        path = tmp_path / "hot" / f"sha256-{digest.hex}"
        os.utime(path, (path.stat().st_atime - age, path.stat().st_mtime))
    assert read(tier, digests[0])  # used again
    keep(tier, b"4" * 300)
    kept = [tier.size(digest) is not None for digest in (*digests, of(b"4" * 300))]
    assert kept == [True, False, True, True]


def test_a_use_leaves_the_time_of_modification_alone(tier: Tier, tmp_path: Path) -> None:
    """It is part of what tells one version of a file from another."""
    path = tmp_path / "hot" / f"sha256-{keep(tier, b'copy').hex}"
    os.utime(path, ns=(1, 12345))
    assert read(tier, of(b"copy"))
    assert path.stat().st_mtime_ns == 12345
    assert path.stat().st_atime > 1000


def test_nothing_is_kept_without_room(tmp_path: Path) -> None:
    assert Tier(tmp_path / "off", 0, 0).filling(of(b"x"), 0) is None
    assert Tier(tmp_path / "small", 1000, 0).filling(of(b"x"), 501) is None
    assert Tier(tmp_path / "full", 1000, 1 << 60).filling(of(b"x"), 1) is None
    assert list(tmp_path.iterdir()) == []


def test_copies_go_when_the_disk_is_needed(tier: Tier, tmp_path: Path) -> None:
    digest = keep(tier, b"copy")
    assert Tier(tmp_path / "hot", 1000, 1 << 60).evict() == 1
    assert tier.size(digest) is None


def test_a_directory_that_is_deleted_is_made_again(tier: Tier, tmp_path: Path) -> None:
    digest = keep(tier, b"copy")
    for path in (tmp_path / "hot").rglob("*"):
        if path.is_file():
            path.unlink()
    (tmp_path / "hot" / "filling").rmdir()
    (tmp_path / "hot").rmdir()
    assert read(tier, digest) is None
    assert read(tier, keep(tier, b"copy")) == b"copy"


def test_a_disk_that_fails_ends_the_copy_only(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    filling = tier.filling(of(b"copy"), 4)
    assert filling
    with monkeypatch.context() as patch:
        patch.setattr("distserver.registry.hot.filling.os.write", lambda fd, data: len(data) - 1)
        filling.write(b"copy")
    filling.write(b"more")
    filling.keep()
    assert tier.size(of(b"copy")) is None
    assert keep(tier, b"copy")


def test_a_finished_file_is_taken_over(tier: Tier, tmp_path: Path) -> None:
    path = tmp_path / "finished"
    path.write_bytes(b"copy")
    tier.link(str(path), of(b"copy"))
    path.unlink()
    assert read(tier, of(b"copy")) == b"copy"
    tier.link(str(path), of(b"gone"))
    assert tier.drop(of(b"copy"))
    assert not tier.drop(of(b"copy"))


def test_a_copy_that_was_finished_a_moment_ago_is_not_begun_anew(
    tier: Tier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer gives it its name between our opening of the file and our lock on it."""
    first, flock = tier.filling(of(b"copy"), 4), fcntl.flock
    assert first
    first.write(b"copy")

    def late(fd: int, operation: int) -> None:
        first.keep()
        flock(fd, operation)

    monkeypatch.setattr("distserver.registry.hot.filling.fcntl.flock", late)
    assert tier.filling(of(b"copy"), 4) is None
    assert read(tier, of(b"copy")) == b"copy"
