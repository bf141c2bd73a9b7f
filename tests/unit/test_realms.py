"""Where credentials may go, and where they come from."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from distserver.proxy.upstream.credentials import Credentials, docker_config, password_file
from distserver.proxy.upstream.realms import may_have_credentials


@pytest.mark.parametrize(
    ("upstream", "realm"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io/token"),
        ("https://ghcr.io", "https://ghcr.io/token"),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:9/token"),
        ("http://reg.site", "https://reg.site/token"),
    ],
)
def test_realms_that_belong_to_the_upstream(upstream: str, realm: str) -> None:
    assert may_have_credentials(upstream, realm)


@pytest.mark.parametrize(
    ("upstream", "realm"),
    [
        ("https://registry-1.docker.io", "http://auth.docker.io/token"),
        ("https://registry-1.docker.io", "https://auth.docker.io.evil.example/token"),
        ("https://registry-1.docker.io", "https://evildocker.io/token"),
        ("https://ghcr.io", "https://evil.io/token"),
        ("https://ghcr.io", "https://x@ghcr.io/token"),
        ("https://registry.co.uk", "https://evil.co.uk/token"),
        ("https://10.0.0.1", "https://11.0.0.1/"),
        ("https://10.0.0.1", "https://evil.0.0.1/"),
        ("https://ghcr.io", ""),
        ("https://ghcr.io", "//ghcr.io/token"),
    ],
)
def test_realms_that_do_not(upstream: str, realm: str) -> None:
    assert not may_have_credentials(upstream, realm)


def test_realms_that_the_configuration_names() -> None:
    assert may_have_credentials("https://a.example", "https://login.other/", ("login.other",))


def test_a_password_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "password"
    load = password_file("alice", path)
    assert load() is None
    path.write_text("one\nrest")
    assert load() == Credentials("alice", "one")
    path.write_text("second")
    assert load() == Credentials("alice", "second")
    path.unlink()
    assert load() == Credentials("alice", "second")


def _config(tmp_path: Path, value: object) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(value))
    return path


def test_docker_s_file(tmp_path: Path) -> None:
    auth = base64.b64encode(b"bob:p:w").decode()
    path = _config(tmp_path, {"auths": {"https://index.docker.io/v1/": {"auth": auth}}})
    assert docker_config(path, "docker.io")() == Credentials("bob", "p:w")
    assert docker_config(path, "ghcr.io")() is None
    token = {"auths": {"ghcr.io": {"auth": auth, "identitytoken": "R"}}}
    assert docker_config(_config(tmp_path, token), "ghcr.io")() == Credentials("bob", "R", True)


@pytest.mark.parametrize("value", [[], {"auths": []}, {"auths": {"x": 1}}, {"auths": {"x": {}}}])
def test_files_of_other_shapes_hold_nothing(tmp_path: Path, value: object) -> None:
    assert docker_config(_config(tmp_path, value), "x")() is None


def test_a_helper_is_asked_as_docker_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        '#!/bin/sh\nread host\necho "{\\"Username\\":\\"u\\",\\"Secret\\":\\"$host\\"}"\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    path = _config(tmp_path, {"credHelpers": {"ghcr.io": "test", "x": "../evil", "y": "none"}})
    assert docker_config(path, "ghcr.io")() == Credentials("u", "ghcr.io")
    assert docker_config(path, "x")() is None
    assert docker_config(path, "y")() is None


def test_secrets_are_not_shown() -> None:
    assert "CANARY" not in repr(Credentials("alice", "CANARY"))
