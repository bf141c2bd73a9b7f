"""Docker Engine for a test: a dockerd of its own, and the docker command that speaks to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.clients.run import Client, daemon


@contextmanager
def engine(root: Path, settings: Mapping[str, object]) -> Iterator[Client]:
    """Run dockerd with these settings of daemon.json; 127.0.0.0/8 is insecure to it by default."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "daemon.json").write_text(json.dumps(settings))
    where = f"unix://{root / 'd.sock'}"
    client = Client("docker", root / "home", "--host", where)
    command = (
        *("dockerd", "--config-file", str(root / "daemon.json"), "--host", where),
        *("--data-root", str(root / "data"), "--exec-root", str(root / "exec")),
        *("--pidfile", str(root / "pid"), "--storage-driver", "vfs", "--bridge", "none"),
        *("--iptables=false", "--ip6tables=false", "--ip-forward=false"),
    )
    with daemon(root, lambda: client.attempt("info").returncode == 0, *command):
        yield client
