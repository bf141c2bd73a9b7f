"""Credentials of an upstream: from the configuration, a file, Docker's config.json or its helpers.

Files are read again when they change, so a mounted Secret needs no restart. Nothing here is logged.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

HELPER_SECONDS = 10.0
HELPER_LIFE_SECONDS = 300.0
RETRY_SECONDS = 30.0
MAX_FILE_BYTES = 1 << 20
_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")
Load = Callable[[], "Credentials | None"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a secret; refresh = the secret is an OAuth2 refresh token, not a password.

    life_seconds  after which its source is asked again
    """

    user: str
    secret: str = field(repr=False)
    refresh: bool = False
    life_seconds: float = field(default=float("inf"), compare=False)

    @property
    def basic(self) -> str:
        """Value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.secret}".encode()).decode()


class Kept:
    """Credentials of a source, asked again when it changes or their life is over.

    what   names the source to operators
    stamp  tells one state of the source from another
    ask    returns the credentials of now
    Both may raise OSError or ValueError; then those of before stay.
    """

    def __init__(
        self, what: str, stamp: Callable[[], object], ask: Callable[[], Credentials | None]
    ) -> None:
        self._what, self._stamp, self._ask = what, stamp, ask
        self._lock = threading.Lock()
        self._seen: object = None
        self._kept: Credentials | None = None
        self._until = 0.0

    def __call__(self) -> Credentials | None:
        """Return the credentials of now. Blocks on: the source, where it is asked."""
        with self._lock:
            try:
                stamp = self._stamp()
                if stamp != self._seen or time.monotonic() > self._until:
                    self._kept, self._seen = self._ask(), stamp
                    life = self._kept.life_seconds if self._kept else RETRY_SECONDS
                    self._until = time.monotonic() + life
            except (OSError, ValueError) as exc:
                log.error("credentials not taken from %s: %s", self._what, type(exc).__name__)
            return self._kept


def _from_file(path: Path, parse: Callable[[str], Credentials | None]) -> Kept:
    """Credentials that a file holds."""

    def stamp() -> object:
        status = path.stat()
        if status.st_size > MAX_FILE_BYTES:
            raise ValueError("too large")
        return status.st_ino, status.st_mtime_ns, status.st_size

    return Kept(str(path), stamp, lambda: parse(path.read_text()))


def password_file(user: str, path: Path) -> Kept:
    """Credentials whose password is a file's first line."""
    return _from_file(path, lambda text: Credentials(user, text.partition("\n")[0].rstrip("\r")))


def docker_config(path: Path, host: str) -> Kept:
    """Credentials that Docker's config.json has for a host: auths, credHelpers, credsStore."""
    return _from_file(path, lambda text: _from_docker(_object(json.loads(text)), host))


def _from_docker(config: dict[str, Any], host: str) -> Credentials | None:
    keys: tuple[str, ...] = (host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/")
    keys += _HUB_KEYS if host in _HUB_KEYS else ()
    helper = _first(_object(config.get("credHelpers")), keys) or config.get("credsStore")
    if isinstance(helper, str) and (found := _from_helper(helper, host)):
        return found
    entry = _object(_first(_object(config.get("auths")), keys))
    return _from_entry(entry)


def _from_entry(entry: dict[str, Any]) -> Credentials | None:
    user, secret = entry.get("username"), entry.get("password")
    if isinstance(entry.get("auth"), str):
        try:
            user, _, secret = base64.b64decode(entry["auth"]).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as exc:
            raise ValueError("auth is not base64 of user:password") from exc
    if isinstance(entry.get("identitytoken"), str) and entry["identitytoken"]:
        return Credentials(user or "<token>", entry["identitytoken"], refresh=True)
    return Credentials(user, secret) if isinstance(user, str) and isinstance(secret, str) else None


def _from_helper(helper: str, host: str) -> Credentials | None:
    """Ask docker-credential-<helper>, as docker does. Blocks on: the helper, 10 s at most."""
    if not helper.replace("-", "").isalnum():
        raise ValueError("not the name of a credential helper")
    server = _HUB_KEYS[0] if host in _HUB_KEYS else host
    try:
        done = subprocess.run(  # noqa: S603  # the operator's own configuration names it
            [f"docker-credential-{helper}", "get"],
            input=server,
            capture_output=True,
            text=True,
            timeout=HELPER_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        log.warning("docker-credential-%s has nothing for %s: %s", helper, host, type(exc).__name__)
        return None
    answer = _object(json.loads(done.stdout[:MAX_FILE_BYTES]))
    user, secret = answer.get("Username"), answer.get("Secret")
    if not isinstance(user, str) or not isinstance(secret, str):
        return None
    return Credentials(user, secret, user == "<token>", HELPER_LIFE_SECONDS)


def _first(values: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((values[key] for key in keys if key in values), None)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
