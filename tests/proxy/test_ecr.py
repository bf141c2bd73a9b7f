"""Amazon's ECR: a password by boto3, for as long as it lives."""

from __future__ import annotations

import base64
import json
import time

import pytest

from distserver.proxy.upstream import credentials
from distserver.proxy.upstream.credentials import Credentials
from distserver.proxy.upstream.ecr import ecr_password
from tests.proxy.scripted import Asked, Reply, scripted


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "CANARY")
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)


def token(password: str, seconds: float) -> bytes:
    given = base64.b64encode(f"AWS:{password}".encode()).decode()
    entry = {"authorizationToken": given, "expiresAt": time.time() + seconds}
    return json.dumps({"authorizationData": [entry]}).encode()


def test_a_password_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = {"Content-Type": "application/x-amz-json-1.1"}
    with scripted(lambda _: (200, kind, token("P1", 43200))) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", aws.url)
        load = ecr_password("eu-west-1")
        assert [load(), load()] == [Credentials("AWS", "P1")] * 2
    (asked,) = aws.asked
    assert "GetAuthorizationToken" in asked.headers["x-amz-target"]
    assert "CANARY" not in str(asked)


def test_a_failure_leaves_the_password_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = {"Content-Type": "application/x-amz-json-1.1"}
    replies = [(200, kind, token("P1", 60)), (400, kind, b'{"__type": "AccessDenied"}')]

    def script(_: Asked) -> Reply:
        return replies.pop(0) if len(replies) > 1 else replies[0]

    with scripted(script) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", aws.url)
        load = ecr_password("eu-west-1")
        assert load() == Credentials("AWS", "P1")
        now = time.monotonic()
        monkeypatch.setattr(credentials.time, "monotonic", lambda: now + 7200)
        assert load() == Credentials("AWS", "P1")
        assert len(aws.asked) == 2
