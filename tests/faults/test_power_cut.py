"""The power goes during pushes: the disk keeps what it was told to keep, and nothing else.

ext4 on a loop device, shut down by its own ioctl without flushing its journal: all that was not
fsynced is gone, as after a power cut.
"""

from __future__ import annotations

import random
import threading
from pathlib import Path

from tests.counts import count
from tests.faults.disks import cut_power, mount_again, small_disk
from tests.faults.pushing import Acknowledged, pushing, verify
from tests.figures import record
from tests.live import Server, start_server

ROUNDS = count(3, 30)
WITHOUT_FSYNC = "import os\nos.fsync = os.fdatasync = lambda descriptor: None\n"


def test_a_power_cut_loses_nothing_acknowledged(tmp_path: Path) -> None:
    acknowledged = lost = 0
    for number in range(ROUNDS):
        directory = tmp_path / str(number)
        directory.mkdir()
        sent, missing = _cut(directory, number, {})
        acknowledged, lost = acknowledged + len(sent), lost + len(missing)
        assert missing == []
    record(
        "R-02",
        f"power cut (ext4 shutdown without flush) during 8 parallel pushes, {ROUNDS} times",
        "0 acknowledged lost; starts without a manual step",
        f"{lost} of {acknowledged} acknowledged entries lost",
    )


def test_the_experiment_shows_a_missing_fsync(tmp_path: Path) -> None:
    """The control: with fsync switched off in the server the same cut must lose something."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(WITHOUT_FSYNC)
    sent, missing = _cut(tmp_path, "control", {"PYTHONPATH": str(code)})
    assert sent
    assert missing


def _cut(directory: Path, seed: object, env: dict[str, str]) -> tuple[Acknowledged, list[str]]:
    """Push, cut, mount again, start again; return what was acknowledged and what is missing."""
    with small_disk("ext4", directory, 1 << 30, 1 << 16) as disk:
        server = start_server(
            directory / "server", "--workers", "2", storage=disk / "storage", env=env
        )
        try:
            with pushing(server, seed) as acknowledged:
                threading.Event().wait(random.Random(str(seed)).uniform(0.8, 2.5))
                cut_power(disk)
        finally:
            server.kill()
            server.session.close()
        mount_again(disk)
        return acknowledged, _missing(directory, disk, acknowledged, strict=not env)


def _missing(directory: Path, disk: Path, acknowledged: Acknowledged, strict: bool) -> list[str]:
    try:
        server = start_server(directory / "server", "--workers", "1", storage=disk / "storage")
    except (RuntimeError, TimeoutError) as exc:
        return [f"the server does not start: {exc}"]
    try:
        missing = acknowledged.lost(server)
        if strict:
            assert _verified(server, disk) == ""
        return missing
    finally:
        server.kill()
        server.session.close()


def _verified(server: Server, disk: Path) -> str:
    (server.directory / "storage").symlink_to(disk / "storage")
    return verify(server)
