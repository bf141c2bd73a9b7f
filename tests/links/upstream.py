"""A real registry to be the upstream: Debian's docker-registry, on a port that the kernel chose."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.components.require import require
from tests.links.images import Image
from tests.live import START_SECONDS, STOP_SECONDS, wait_for

SECONDS = 60.0
_LISTENING = re.compile(r"listening on (127\.0\.0\.1:\d+)")
_CONFIGURATION = """\
version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: "{directory}/root"}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:0", secret: tests}}
"""
_USERS = """\
auth: {{htpasswd: {{realm: tests, path: "{users}"}}}}
"""


@dataclass(frozen=True)
class Upstream:
    """A running docker-registry.

    host  HOST:PORT
    auth  user and password that it wants, or None
    """

    host: str
    auth: tuple[str, str] | None = None

    def push(self, image: Image, repository: str, tag: str) -> None:
        """Push an image. Raises: requests.HTTPError."""
        with requests.Session() as session:
            session.auth = self.auth
            for digest, path in image.blobs.items():
                self._push_blob(session, repository, digest, path)
            url = f"http://{self.host}/v2/{repository}/manifests/{tag}"
            kind = {"Content-Type": image.media_type}
            session.put(url, data=image.manifest, headers=kind, timeout=SECONDS).raise_for_status()

    def _push_blob(
        self, session: requests.Session, repository: str, digest: str, path: Path
    ) -> None:
        url = f"http://{self.host}/v2/{repository}/blobs/uploads/"
        with session.post(url, timeout=SECONDS) as begun:
            begun.raise_for_status()
            where = f"{begun.headers['Location']}&digest={digest}"
        kind = {"Content-Type": "application/octet-stream"}
        with path.open("rb") as file:
            session.put(where, data=file, headers=kind, timeout=SECONDS).raise_for_status()


@contextmanager
def docker_registry(directory: Path, users: Path | None = None) -> Iterator[str]:
    """Run docker-registry over a directory of its own; yields its HOST:PORT.

    users  file of htpasswd whose users alone may do anything
    """
    directory.mkdir(parents=True)
    log, config = directory / "log", directory / "config.yml"
    text = _CONFIGURATION.format(directory=directory)
    config.write_text(text + (_USERS.format(users=users) if users else ""))
    with log.open("wb") as output:
        command = [require("docker-registry"), "serve", str(config)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        found = wait_for(lambda: _LISTENING.search(log.read_text()), START_SECONDS, "registry")
        yield found[1]
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
