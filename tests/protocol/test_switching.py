"""Modes and configuration of a running server: switched without a restart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import requests

from tests.live import Server, wait_for
from tests.protocol.upstream import table, upstream
from tests.proxy.scripted import scripted


def test_the_mode_is_switched_beside_a_running_server(
    tmp_path: Path, start: Callable[..., Server]
) -> None:
    def command(*arguments: str) -> str:
        state = str(server.directory / "state")
        return subprocess.run(
            [sys.executable, "-m", "distserver", *arguments, "--state", state],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={**os.environ, "DISTSERVER_CONFIG": file},
        ).stdout

    with scripted(upstream) as up:
        file = table(tmp_path, up.url)
        server = start(None, "--workers", "2", "--config", file)
        assert "offline (switched" in command("mode", "offline")
        path = "/v2/team/app/manifests/v1?ns=up.site"
        wait_for(lambda: server.request("GET", path).status_code == 404, 1.5, "offline")
        assert up.asked == []
        assert "online (as configured)" in command("mode", "configured")
        wait_for(lambda: server.request("GET", path).status_code == 200, 1.5, "online")
        assert "answers" in command("upstreams")


def test_SIGHUP_reads_the_file_again_and_a_bad_one_changes_nothing(
    tmp_path: Path, start: Callable[..., Server]
) -> None:
    with scripted(upstream) as up:
        file = table(tmp_path, up.url)
        server = start(None, "--workers", "2", "--config", file)
        path = "/v2/team/app/manifests/v1?ns=up.site"
        assert server.request("GET", path).status_code == 200
        Path(file).write_text("mode = 'never'\n")
        os.kill(server.pid, signal.SIGHUP)
        wait_for(lambda: "stays as it was" in server.log, 10, "refusal")
        assert requests.get(server.url + path, timeout=30).status_code == 200
        table(tmp_path, up.url, mode='"offline"')
        os.kill(server.pid, signal.SIGHUP)
        missing = path.replace("v1", "v2")
        wait_for(
            lambda: "offline" in requests.get(server.url + "/", timeout=30).text, 20, "offline"
        )
        asked = len(up.asked)
        assert requests.get(server.url + missing, timeout=30).status_code == 404
        assert len(up.asked) == asked
    server.session.close()
    assert "Traceback" not in server.log
