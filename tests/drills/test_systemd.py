"""Drill E: a node boots, and the service of systemd serves, whatever happens to it."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.counts import count
from tests.drills.boot import Machine, machine
from tests.faults.images import (
    assert_pulls,
    live,
    make_image,
    push,
    push_blob,
    push_manifest,
)
from tests.faults.pushing import Acknowledged, pushing
from tests.figures import record
from tests.live import wait_for

UNIT = "distserver.service"
BOOT_SECONDS = 2.0
HANG_SECONDS = 60.0
"""WatchdogSec, the age at which a heartbeat does not count, what systemd takes to end it; and room.
"""
CRASHES = 8
"""More than systemd forgives without StartLimitIntervalSec=0: 5 within 10 s."""
IMAGE = make_image("shipped", 3_000_000)

Start = Callable[[], Machine]


def test_it_serves_soon_after_boot(start: Start) -> None:
    machine = start()
    wait_for(machine.serves, 30, "answer")
    seconds = time.monotonic() - machine.started
    wait_for(lambda: machine.show(UNIT, "ActiveState") == "active", 10, "active unit")
    aim = f"less than {BOOT_SECONDS:g} s"
    record("E", "boot of a node without a network, until an answer", aim, f"{seconds:.2f} s")
    assert seconds < BOOT_SECONDS
    _push(machine)
    machine.shut_down()
    machine.boot()
    wait_for(machine.serves, 30, "answer")
    _assert_pulls(machine)


def test_it_is_well_hardened(start: Start) -> None:
    machine = start()
    names = ("distserver.service", "distserver.socket", "distserver-import.service")
    units = [f"/usr/local/lib/systemd/system/{name}" for name in names]
    verified = machine.attempt("systemd-analyze", "verify", "--man=no", *units)
    assert (verified.stdout, verified.stderr) == ("", "")
    security = ("systemd-analyze", "security", "--offline=yes", "--threshold=30", units[0])
    exposure = machine.run(*security).strip().splitlines()[-1].split(":")[1].split()[0]
    record("E", "systemd-analyze security", "3.0 at most", exposure)
    wait_for(machine.serves, 30, "answer")
    assert machine.run("stat", "-c", "%u:%g", "/var/lib/distserver/storage") == "65532:65532\n"


def test_it_comes_back_when_it_is_killed(start: Start) -> None:
    machine = start()
    wait_for(machine.serves, 30, "answer")
    _push(machine)
    before = _pid(machine)
    at = time.monotonic()
    machine.run("kill", "-9", before)
    _wait_for_another(machine, before, 30)
    record("E", "kill -9 of the service, until an answer", "by itself", _since(at))
    _assert_pulls(machine)


def test_it_comes_back_after_a_crash_loop(start: Start) -> None:
    machine = start()
    wait_for(machine.serves, 30, "answer")
    settings = machine.root / "etc/distserver/config.toml"
    good = settings.read_text()
    settings.write_text("nonsense = 1\n")
    machine.run("kill", "-9", _pid(machine))
    wait_for(lambda: int(machine.show(UNIT, "NRestarts")) > CRASHES, 120, "crashes")
    assert "unknown key nonsense" in machine.run("journalctl", "--no-pager", "-u", UNIT)
    settings.write_text(good)
    wait_for(machine.serves, 30, "answer")
    aim = "it tries on, and serves once the cause is mended"
    record("E", "crash loop", aim, f"served after {machine.show(UNIT, 'NRestarts')} restarts")


@pytest.mark.parametrize("who", count(["workers"], ["workers", "master"]))
def test_it_comes_back_when_it_hangs(start: Start, who: str) -> None:
    machine = start()
    wait_for(lambda: _all_work(machine), 30, "workers")  # one that comes later is not stopped
    _push(machine)
    before = _pid(machine)
    at = time.monotonic()
    if who == "master":
        machine.run("kill", "-STOP", before)
    else:
        machine.run("pkill", "-STOP", "--parent", before)
    _wait_for_another(machine, before, HANG_SECONDS)
    record("E", f"{who} stopped, until an answer", f"{HANG_SECONDS:g} s at most", _since(at))
    assert "Watchdog timeout" in machine.run("journalctl", "--no-pager", "-u", UNIT)
    _assert_pulls(machine)


def test_nothing_acknowledged_is_lost_in_a_power_cut(start: Start) -> None:
    machine, rounds = start(), count(2, 20)
    acknowledged = Acknowledged()
    for number in range(rounds):
        wait_for(machine.serves, 30, "answer")
        assert acknowledged.lost(machine.server) == []
        with pushing(machine.server, number, acknowledged, threads=2) as more:
            wait_for(lambda: len(more) > 10, 60, "acknowledged pushes")  # noqa: B023
            with socket.create_connection(("127.0.0.1", machine.port)) as half:
                _send_half_a_push(half)
                machine.cut_power()
        acknowledged.add(more)
        machine.boot()
    wait_for(machine.serves, 30, "answer")
    assert acknowledged.lost(machine.server) == []
    machine.run("runuser", "-u", "distserver", "--", "distserver", "verify")
    figure = f"0 of {len(acknowledged)} lost in {rounds} cuts"
    record("E", "power cuts in the middle of pushes", "nothing acknowledged is lost", figure)


def test_a_storage_that_is_not_mounted_is_waited_for(start: Start) -> None:
    machine = start()
    wait_for(machine.serves, 30, "answer")
    _push(machine)
    machine.run("systemctl", "stop", UNIT)
    storage = "/var/lib/distserver/storage"
    machine.run("mkdir", "/srv/disk")
    machine.run("sh", "-c", f"mv {storage}/* /srv/disk/ && chown 65532:65532 /srv/disk")
    machine.shut_down()
    machine.boot()
    wait_for(machine.serves, 30, "answer")
    call, before = live(machine.server), _pid(machine)
    assert call("GET", "/readyz").status == 503
    assert call("GET", "/v2/a/b/manifests/v1").status == 503
    assert push_blob(call, "a/b", IMAGE.layer).status == 503
    assert push_manifest(call, "a/b", "v2", IMAGE.manifest).status == 503
    assert machine.run("ls", "-A", storage) == ""
    machine.run("mount", "--bind", "/srv/disk", storage)
    at = time.monotonic()
    wait_for(lambda: call("GET", "/readyz").status == 200, 30, "readiness")
    record("E", "storage mounted late, until ready", "without a restart", _since(at))
    _assert_pulls(machine)
    assert _pid(machine) == before


def test_the_first_connection_starts_it(start: Start) -> None:
    machine = start()
    machine.wait_until_up()
    machine.run("systemctl", "disable", "--now", UNIT)
    machine.run("systemctl", "enable", "--now", "distserver.socket")
    assert machine.show(UNIT, "ActiveState") == "inactive"
    at = time.monotonic()
    assert machine.serves()
    record("E", "first connection to the socket unit", "an answer", _since(at))
    _push(machine)
    machine.run("kill", "-9", _pid(machine))
    wait_for(lambda: machine.show(UNIT, "SubState") == "auto-restart", 30, "end of the process")
    assert machine.serves(), "connections wait while it restarts"
    _assert_pulls(machine)


def test_rights_go_by_the_socket_unit(start: Start) -> None:
    """Its address stands for `listen`: open to other nodes, pushes need a user."""
    machine = start()
    wait_for(machine.serves, 30, "answer")
    directory = machine.root / "etc/systemd/system/distserver.socket.d"
    directory.mkdir(parents=True)
    (directory / "open.conf").write_text("[Socket]\nListenStream=\nListenStream=0.0.0.0:5000\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "stop", UNIT)
    machine.run("systemctl", "start", "distserver.socket")
    assert machine.serves()
    assert push_blob(live(machine.server), "a/b", IMAGE.layer).status == 403


def test_uninstalling_keeps_the_data(start: Start) -> None:
    machine = start()
    wait_for(machine.serves, 30, "answer")
    _push(machine)
    settings = machine.root / "etc/distserver/config.toml"
    settings.write_text(settings.read_text() + "# mine\n")
    said = machine.run("make", "-C", "/source", "uninstall-systemd")
    assert "/var/lib/distserver" in said
    assert not machine.serves()
    assert not list((machine.root / "usr/local").rglob("*distserver*"))
    assert not (machine.root / "opt/distserver").exists()
    machine.run("make", "-C", "/source", "install-systemd", "WHEELS=/wheels", "ENABLE=1")
    wait_for(machine.serves, 30, "answer")
    _assert_pulls(machine)
    assert settings.read_text().endswith("# mine\n")


def test_a_machine_is_prepared_before_it_boots(
    start: Start, tmp_path: Path, shares: dict[str, Path]
) -> None:
    """With DESTDIR: what is written below it is put over a machine that has never run."""
    workshop = start()
    workshop.wait_until_up()
    image = "/mnt/image"
    workshop.run("mkdir", "-p", f"{image}/etc")
    workshop.run("cp", "/etc/passwd", "/etc/group", "/etc/shadow", f"{image}/etc/")
    make = ("make", "-C", "/source", "install-systemd", "WHEELS=/wheels", "ENABLE=1")
    workshop.run(*make, f"DESTDIR={image}")
    workshop.cut_power()
    with machine(tmp_path / "prepared", workshop.written / image[1:], shares=shares) as prepared:
        prepared.boot()
        wait_for(prepared.serves, 30, "answer")
        _push(prepared)
        _assert_pulls(prepared)


def _push(machine: Machine) -> None:
    push(live(machine.server), "a/b", "v1", IMAGE)


def _assert_pulls(machine: Machine) -> None:
    for reference in ("v1", IMAGE.digest):
        assert_pulls(live(machine.server), "a/b", reference, IMAGE)


def _pid(machine: Machine) -> str:
    return machine.show(UNIT, "MainPID")


def _all_work(machine: Machine) -> bool:
    said = re.match(r"(\d+) of (\d+) workers answer", machine.show(UNIT, "StatusText"))
    return said is not None and said[1] == said[2]


def _wait_for_another(machine: Machine, before: str, seconds: float) -> None:
    """Wait until another process serves."""
    wait_for(lambda: _pid(machine) not in (before, "0", ""), seconds, "another process")
    wait_for(machine.serves, seconds, "answer")


def _send_half_a_push(half: socket.socket) -> None:
    head = "POST /v2/half/done/blobs/uploads/?digest=sha256:" + 64 * "0" + " HTTP/1.1\r\n"
    half.sendall(f"{head}Host: registry\r\nContent-Length: 2000000\r\n\r\n".encode())
    half.sendall(bytes(1_000_000))


def _since(at: float) -> str:
    return f"{time.monotonic() - at:.1f} s"
