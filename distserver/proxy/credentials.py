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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

HELPER_SECONDS = 10.0
MAX_FILE_BYTES = 1 << 20
_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")
Load = Callable[[], "Credentials | None"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a secret; refresh = the secret is an OAuth2 refresh token, not a password."""

    user: str
    secret: str = field(repr=False)
    refresh: bool = False

    @property
    def basic(self) -> str:
        """Value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.secret}".encode()).decode()


class FromFile:
    """Credentials that a file holds, read again when its time or size changes.

    parse  makes credentials from the file's text; raises ValueError if it cannot
    """

    def __init__(self, path: Path, parse: Callable[[str], Credentials | None]) -> None:
        self._path, self._parse = path, parse
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._kept: Credentials | None = None

    def __call__(self) -> Credentials | None:
        """Return the credentials of now; those of before when the file cannot be read."""
        with self._lock:
            try:
                status = self._path.stat()
                stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
                if stamp != self._stamp:
                    if status.st_size > MAX_FILE_BYTES:
                        raise ValueError("too large")
                    self._kept, self._stamp = self._parse(self._path.read_text()), stamp
            except (OSError, ValueError) as exc:
                log.error("credentials not taken from %s: %s", self._path, type(exc).__name__)
            return self._kept


def password_file(user: str, path: Path) -> FromFile:
    """Credentials whose password is a file's first line."""
    return FromFile(path, lambda text: Credentials(user, text.partition("\n")[0].rstrip("\r")))


def docker_config(path: Path, host: str) -> FromFile:
    """Credentials that Docker's config.json has for a host: auths, credHelpers, credsStore."""
    return FromFile(path, lambda text: _from_docker(_object(json.loads(text)), host))


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
    return Credentials(user, secret, refresh=user == "<token>")


def _first(values: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((values[key] for key in keys if key in values), None)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
