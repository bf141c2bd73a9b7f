"""What the guide tells operators of systemd to do, done."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.components.require import require
from tests.drills.boot import Machine
from tests.faults.images import assert_pulls, live, make_image, push, push_blob
from tests.live import wait_for

IMAGE = make_image("guide")
AS_SERVICE = ("runuser", "-u", "distserver", "--")
Start = Callable[[], Machine]


def test_a_storage_elsewhere_and_a_password(start: Start) -> None:
    machine = start()
    machine.wait_until_up()
    _edit(machine, "ReadWritePaths=/srv/registry", "LoadCredential=hub:/etc/distserver/hub")
    settings = machine.root / "etc/distserver/config.toml"
    settings.write_text(
        settings.read_text().replace("/var/lib/distserver/storage", "/srv/registry")
    )
    password = machine.root / "etc/distserver/hub"
    password.write_text("secret\n")
    password.chmod(0o600)
    machine.run("mkdir", "/srv/registry")
    machine.run("chown", "distserver:", "/srv/registry")
    machine.run("rm", "/var/lib/distserver/state/storage_id")
    machine.run(*AS_SERVICE, "distserver", "init")
    machine.run("systemctl", "restart", "distserver")
    wait_for(machine.serves, 30, "answer")
    push(live(machine.server), "a/b", "v1", IMAGE)
    assert_pulls(live(machine.server), "a/b", "v1", IMAGE)
    assert (machine.root / "srv/registry/blobs").is_dir()
    pid = machine.show("distserver", "MainPID")
    credential = Path("/proc", pid, "root", "run/credentials/distserver.service/hub")
    assert machine.run(*AS_SERVICE, "cat", str(credential)) == "secret\n"


def test_other_nodes_may_pull_and_users_push(start: Start) -> None:
    machine = start()
    machine.wait_until_up()
    settings = machine.root / "etc/distserver/config.toml"
    text = settings.read_text().replace('listen = "127.0.0.1', 'listen = "0.0.0.0')
    settings.write_text(text.replace("# users_file", "users_file"))
    add = "echo secret | distserver user add alice --password-stdin"
    machine.run("sh", "-c", add)
    machine.run("systemctl", "restart", "distserver")
    wait_for(machine.serves, 30, "answer")
    call, alice = live(machine.server), base64.b64encode(b"alice:secret").decode()
    assert push_blob(call, "a/b", IMAGE.layer).status == 401
    as_alice = partial(call, Authorization=f"Basic {alice}")
    assert push_blob(as_alice, "a/b", IMAGE.layer).status == 201


def test_syncthing_runs_as_a_service(start: Start) -> None:
    machine = start()
    machine.wait_until_up()
    shutil.copy(require("syncthing"), machine.root / "usr/bin/syncthing")
    unit, libexec = "distserver-syncthing.service", "/opt/distserver/libexec"
    source = "/source/contrib/syncthing"
    machine.run("install", "-m", "644", f"{source}/{unit}", "/etc/systemd/system/")
    machine.run("install", "-D", "-t", libexec, f"{source}/configure.py", f"{source}/stignore")
    configure = (*AS_SERVICE, "/opt/distserver/bin/python", f"{libexec}/configure.py")
    (own,) = machine.run(*configure).split()
    (peer,) = machine.run(*configure, "--home", "/var/lib/distserver/another").split()
    assert machine.run(*configure, f"{peer}=tcp://node2:22000").split() == [own]
    verified = machine.attempt(
        "systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{unit}"
    )
    assert (verified.stdout, verified.stderr) == ("", "")
    machine.run("systemctl", "start", unit)
    storage = '"distserver" (distserver)'
    log = lambda: machine.run("journalctl", "--no-pager", "-u", unit)  # noqa: E731
    wait_for(lambda: f"Ready to synchronize {storage}" in log(), 60, "folder")
    assert machine.show(unit, "NRestarts") == "0"


def _edit(machine: Machine, *lines: str) -> None:
    """What `systemctl edit distserver` does."""
    directory = machine.root / "etc/systemd/system/distserver.service.d"
    directory.mkdir(parents=True)
    (directory / "override.conf").write_text("\n".join(("[Service]", *lines, "")))
    machine.run("systemctl", "daemon-reload")
