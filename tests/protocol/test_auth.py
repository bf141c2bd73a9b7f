"""Users by Basic authentication (AU)."""

from __future__ import annotations

import base64

import pytest
import requests

from distserver.api import access
from tests.live import Server
from tests.protocol.images import Repository, code


def _ask(secured: Server, authorization: bytes | None, path: str = "/v2/") -> requests.Response:
    headers = {"Authorization": authorization} if authorization is not None else {}
    verify = str(secured.directory / "cert.pem")
    return secured.request("GET", path, headers=headers, verify=verify)


def _basic(text: bytes) -> bytes:
    return b"Basic " + base64.b64encode(text)


@pytest.mark.parametrize("path", ["/v2/", "/v2/a/tags/list", "/v2/_catalog"])
def test_AU_04_basic_is_accepted_everywhere(secured: Server, path: str) -> None:
    """A name outside ASCII too."""
    for user in (b"alice", "ünï".encode()):
        answer = _ask(secured, _basic(user + b":" + user), path)
        assert answer.status_code in (200, 404)


BAD = [
    *(b"Basic", b"Basic ", b"Basic ???", b"Basic YQ", b"Bearer abc", b"\xff\xfe"),
    *(_basic(b"\xff\xfe:x"), _basic(b"alice"), _basic(b"alice:\xe9"), _basic("é:é".encode())),
    *(_basic(b"alice:" + b"x" * 100), _basic(b"alice:al\0ice"), _basic(b"nobody:alice")),
]


@pytest.mark.parametrize("value", BAD)
def test_AU_04_bad_credentials_are_401(secured: Server, value: bytes) -> None:
    """With a challenge, never 500."""
    answer = _ask(secured, value, "/v2/a/tags/list")
    assert (answer.status_code, code(answer)) == (401, "UNAUTHORIZED")
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")


def test_AU_05_G_01_the_base_is_challenged(secured: Server) -> None:
    """podman logs in only where /v2/ asks it to, though anyone may pull."""
    for path in ("/v2", "/v2/"):
        answer = _ask(secured, None, path)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert _ask(secured, None, "/v2/a/tags/list").status_code == 404


def test_AU_05_pushes_are_challenged(secured: Server, name: str) -> None:
    """Who is nobody may pull but not push; who may only pull is denied."""
    anonymous = Repository(secured, name).ask("POST", "blobs/uploads/")
    assert (anonymous.status_code, code(anonymous)) == (401, "UNAUTHORIZED")
    assert "WWW-Authenticate" in anonymous.headers
    reader = Repository(secured, name, ("reader", "reader")).ask("POST", "blobs/uploads/")
    assert (reader.status_code, code(reader)) == (403, "DENIED")


def test_AU_08_unknown_users_cost_the_same_work(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One comparison by bcrypt each, which compares bytes in constant time."""
    import bcrypt

    file = tmp_path / "users"  # type: ignore[operator]
    file.write_text(f"alice:{bcrypt.hashpw(b'x', bcrypt.gensalt(4)).decode()}\n")
    users = access.Users(file)
    checked: list[bytes] = []
    monkeypatch.setattr(access, "_check", lambda password, stored: checked.append(stored))
    assert users.authenticate("alice", b"wrong") is None
    assert users.authenticate("nobody\N{SNOWMAN}", b"wrong") is None
    assert len(checked) == 2
