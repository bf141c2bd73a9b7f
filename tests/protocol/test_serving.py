"""What operators see of a server: health, log lines, and transfers that outlive a stop."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live import Server, wait_for
from tests.protocol.images import Repository, sha256
from tests.protocol.raw import connected, read_all, request, status

LARGE = bytes(48 << 20)
IDLE = 2
"""What the loop of an idle worker waits for: its port, and its own threads."""


@pytest.mark.files
def test_healthz_asks_nothing_and_readyz_names_the_storage(server: Server) -> None:
    assert server.request("GET", "/healthz").json() == {"status": "ok"}
    state = server.request("GET", "/readyz").json()
    assert state["status"] == "ready"
    assert state["draining"] is False
    assert state["storage"]["ok"] is True
    assert state["storage"]["free_bytes"] > 0


def test_a_pull_outlives_sigterm(start: Callable[..., Server], name: str) -> None:
    """The port closes, the transfer ends whole, then the server ends with 0."""
    server = start(None, "--workers", "1")
    digest = Repository(server, name).push_blob(LARGE)
    server.session.close()
    with connected(server) as sock:
        sock.sendall(request("GET", f"/v2/{name}/blobs/{digest}", "Connection: close"))
        first = sock.recv(65536)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not _accepts(server), 20, "closed port")
        answer = first + read_all(sock)
    assert status(answer) == 200
    assert len(answer.partition(b"\r\n\r\n")[2]) == len(LARGE)
    assert server.process.wait(20) == 0


@pytest.mark.files
def test_a_push_outlives_sigterm(start: Callable[..., Server], name: str) -> None:
    """What was begun is taken and acknowledged."""
    server = start(None, "--workers", "1")
    server.session.close()
    path = f"/v2/{name}/blobs/uploads/?digest={sha256(LARGE)}"
    head = request("POST", path, f"Content-Length: {len(LARGE)}", "Connection: close")
    with connected(server) as sock:
        sock.sendall(head + LARGE[: 1 << 20])
        wait_for(lambda: list(server.storage.glob("**/tmp/*")), 20, "begun upload")
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not _accepts(server), 20, "closed port")
        sock.sendall(LARGE[1 << 20 :])
        assert status(read_all(sock)) == 201
    assert server.process.wait(20) == 0


def test_a_connection_that_never_asked_does_not_hold_up_a_stop(
    start: Callable[..., Server],
) -> None:
    """Go's clients open one more than they need, and keep it: containerd on every node."""
    server = start(None, "--workers", "1")
    server.session.close()
    (worker,) = server.workers()
    wait_for(lambda: _watched(worker) == IDLE, 20, "idle worker")
    with connected(server):
        wait_for(lambda: _watched(worker) > IDLE, 20, "connection that is put aside")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0


def test_json_lines(start: Callable[..., Server], name: str) -> None:
    """One object a request, with what a search at night needs."""
    server = start(None, "--workers", "1", env={"DISTSERVER_LOG_FORMAT": "json"})
    repo = Repository(server, name)
    digest = repo.push_blob(b"x")
    repo.get(f"blobs/{digest}")
    lines = wait_for(lambda: _json_lines(server, "GET"), 10, "log line")
    assert lines[-1]["name"] == name
    assert lines[-1]["digest"] == digest
    assert (lines[-1]["status"], lines[-1]["bytes"]) == (200, 1)
    assert lines[-1]["route"] == "/v2/<name:name>/blobs/<digest>"
    assert lines[-1]["seconds"] >= 0


def test_neither_queries_nor_credentials_are_logged(secured: Server, name: str) -> None:
    """Also of requests that are refused."""
    repo = Repository(secured, name, ("alice", "CANARY-PASSWORD"))
    assert repo.get("manifests/x", params={"secret": "CANARY-QUERY"}).status_code == 401
    wait_for(lambda: "/manifests/" in secured.log, 10, "log line")
    assert "CANARY" not in secured.log


def _accepts(server: Server) -> bool:
    try:
        with connected(server):
            return True
    except ConnectionRefusedError:
        return False


def _json_lines(server: Server, method: str) -> list[dict[str, object]]:
    lines = [line for line in server.log.splitlines() if line.startswith('{"method"')]
    return [
        entry for entry in map(json.loads, lines) if entry["method"] == method and entry.get("name")
    ]


def _watched(pid: int) -> int:
    """How many descriptors the loop of a worker waits for. Spec: proc(5), fdinfo of epoll.

    A request thread that waits for its client has one of its own, with only that client.
    """
    found = [_read(file) for file in Path(f"/proc/{pid}/fdinfo").iterdir()]
    return max(text.count("tfd:") for text in found)


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:  # closed meanwhile
        return ""
