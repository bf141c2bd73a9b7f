"""Who may do what: anonymous rights by where we listen, others by a htpasswd file.

Rights are pull, push and delete. Basic authentication only; unknown users cost the work of known
ones, and a checked password is remembered by its hash for a minute.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import secrets
import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import bcrypt
from cachetools import TTLCache
from flask import g, request

from distserver.oci.errors import Denied, Unauthorized

log = logging.getLogger(__name__)

ALL = frozenset({"pull", "push", "delete"})
DEFAULT_RIGHTS = frozenset({"pull", "push"})
REMEMBER_SECONDS = 60.0
BCRYPT_COST_BYTES = len(b"$2b$10$")
"""The part of a bcrypt hash that says how dear it is to check."""
CHALLENGE = {"WWW-Authenticate": 'Basic realm="distserver", charset="UTF-8"'}


@dataclass(frozen=True, slots=True)
class User:
    """A line of the users file: `name:bcrypt[:rights]`."""

    name: str
    password_hash: bytes
    rights: frozenset[str]


def parse_users(text: str) -> dict[str, User]:
    """Read a users file. Raises: ValueError naming the line."""
    users: dict[str, User] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.strip().partition(":")
        password_hash, _, rights = rest.partition(":")
        granted = frozenset(rights.split(",")) if rights else DEFAULT_RIGHTS
        if not name or not password_hash.startswith("$2") or not granted <= ALL:
            raise ValueError(
                f"line {number} is not name:bcrypt[:rights], rights of pull,push,delete"
            )
        users[name] = User(name, password_hash.encode(), granted)
    return users


class Users:
    """The users file, read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._users: dict[str, User] = {}
        self._checked: TTLCache[bytes, str] = TTLCache(1024, REMEMBER_SECONDS, time.monotonic)
        self._key = secrets.token_bytes(32)
        self._nobody = bcrypt.hashpw(secrets.token_bytes(16), bcrypt.gensalt(10))

    def authenticate(self, name: str, password: bytes) -> User | None:
        """Return the user if the password is right. Blocks on: bcrypt, once a minute a user."""
        users = self._current()
        user = users.get(name)
        proof = hmac.new(self._key, name.encode() + b"\0" + password, hashlib.sha256).digest()
        stored = user.password_hash if user else self._decoy(name, list(users.values()))
        with self._lock:
            known = self._checked.get(proof) == stored.decode()
        if known and user:
            return user
        right = _check(password, stored)
        if not right or not user:
            return None
        with self._lock:
            self._checked[proof] = stored.decode()
        return user

    def _decoy(self, name: str, users: Sequence[User]) -> bytes:
        """A hash that no password has, which costs what the hash of one of the users costs."""
        if not users:
            return self._nobody
        like = users[zlib.crc32(name.encode()) % len(users)].password_hash
        return like[:BCRYPT_COST_BYTES] + self._nobody[BCRYPT_COST_BYTES:]

    def _current(self) -> dict[str, User]:
        """The users of now; when the file cannot be read, those of before."""
        try:
            status = self._path.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._users, self._stamp = parse_users(self._path.read_text()), stamp
        except (OSError, ValueError) as exc:
            log.error("users file not taken: %s", exc)
        return self._users


def _check(password: bytes, stored: bytes) -> bool:
    try:
        return bcrypt.checkpw(password[:72], stored)  # bcrypt looks at 72 bytes; 5.0 refuses more
    except ValueError:
        return False


class Access:
    """Decides on every request, before a view sees it.

    users      None = nobody can log in
    anonymous  rights of a request without credentials
    """

    def __init__(self, users: Users | None, anonymous: frozenset[str]) -> None:
        self._users = users
        self._anonymous = anonymous

    def check(self) -> None:
        """Set g.user, g.may_pull and g.may_push, or refuse. Raises: Unauthorized, Denied."""
        g.user, g.may_pull, g.may_push = "", False, False
        if request.path in ("/healthz", "/readyz"):
            return
        user = self._authenticate()
        g.user = user.name if user else ""
        rights = user.rights if user else self._anonymous
        g.may_pull, g.may_push = "pull" in rights, "push" in rights
        needed = _needed_right()
        if needed not in rights:
            self._refuse(user, needed)
        if user is None and self._users and request.path in ("/v2", "/v2/"):
            # podman and docker log in only if the base is challenged (AU-05).
            raise Unauthorized(headers=CHALLENGE)

    def _refuse(self, user: User | None, needed: str) -> None:
        if user is None and self._users:
            raise Unauthorized(headers=CHALLENGE)
        who = f"user {user.name}" if user else "an anonymous client"
        raise Denied(f"{who} may not {needed} here")

    def _authenticate(self) -> User | None:
        header = request.headers.get("Authorization")
        if not header or not self._users:
            return None
        name, password = _parse_basic(header)
        if not name and not password:
            return None
        user = self._users.authenticate(name, password)
        if user is None:
            raise Unauthorized(headers=CHALLENGE)
        return user


def _parse_basic(header: str) -> tuple[str, bytes]:
    scheme, _, value = header.partition(" ")
    try:
        name, colon, password = base64.b64decode(value.strip(), validate=True).partition(b":")
        if scheme.lower() == "basic" and colon:
            return name.decode(), password
    except (binascii.Error, ValueError) as exc:
        raise Unauthorized(headers=CHALLENGE) from exc
    raise Unauthorized(headers=CHALLENGE)


def _needed_right() -> str:
    # By the route: a repository may be called "a/blobs/uploads".
    if request.url_rule and "/blobs/uploads" in request.url_rule.rule:
        return "push"
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return "pull"
    return "delete" if request.method == "DELETE" else "push"
