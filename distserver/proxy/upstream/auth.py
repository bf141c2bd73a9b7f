"""Tokens and passwords for an upstream, given only where they belong.

Spec: the distribution project's token protocol and its OAuth2 form. Tokens are kept by
(realm, service, scope) for four fifths of their life.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlencode

from cachetools import TLRUCache

from distserver.proxy.upstream.challenge import Challenge, parse_challenges
from distserver.proxy.upstream.client import MAX_ERROR_BYTES, Answer, Transfer, error_of
from distserver.proxy.upstream.credentials import Credentials, Load
from distserver.proxy.upstream.errors import UpstreamRefused, UpstreamUnavailable
from distserver.proxy.upstream.realms import may_be_asked, may_have_credentials

DEFAULT_LIFE_SECONDS = 60.0
MAX_LIFE_SECONDS = 3600.0
_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    life_seconds: float


class Authenticator:
    """Answers the challenges of one upstream.

    base_url     the upstream's own URL, which the rule of realms compares with
    load         returns the credentials of now, or None for anonymous access
    realm_hosts  further hosts whose realms may see the credentials
    """

    def __init__(
        self, base_url: str, transfer: Transfer, load: Load, realm_hosts: tuple[str, ...] = ()
    ) -> None:
        self._base_url, self._transfer, self._load = base_url, transfer, load
        self._realm_hosts = realm_hosts
        self._lock = threading.Lock()
        self._tokens: TLRUCache[_Key, _Token] = TLRUCache(
            1024, lambda _, token, now: now + 0.8 * token.life_seconds, time.monotonic
        )
        self._known: dict[str, _Key] = {}

    def header(self, scope: str) -> dict[str, str]:
        """Headers for a first try: a token that was good for this scope, if one is kept."""
        with self._lock:
            key = self._known.get(scope)
            token = self._tokens.get(key) if key else None
        return {"Authorization": f"Bearer {token.value}"} if token else {}

    def answer(self, refused: Answer, scope: str) -> dict[str, str]:
        """Headers for the second try after a 401.

        Raises: UpstreamRefused (nothing to answer with), UpstreamUnavailable.
        """
        challenges = parse_challenges(refused.headers.get("WWW-Authenticate", ""))
        by_scheme = {challenge.scheme: challenge for challenge in challenges}
        if "bearer" in by_scheme:
            return self._bearer(by_scheme["bearer"], scope)
        credentials = self._load()
        if "basic" in by_scheme and credentials and not credentials.refresh:
            if not may_have_credentials(self._base_url, refused.url):
                raise UpstreamRefused("another host than the upstream's asks for its password")
            return {"Authorization": credentials.basic}
        raise UpstreamRefused("the upstream wants credentials that are not configured")

    def _bearer(self, challenge: Challenge, scope: str) -> dict[str, str]:
        realm, credentials = challenge.parameters.get("realm", ""), self._load()
        if credentials and not may_have_credentials(self._base_url, realm, self._realm_hosts):
            raise UpstreamRefused("the upstream sends us to a foreign host for a token")
        if not may_be_asked(self._base_url, realm):
            raise UpstreamRefused("the upstream names no URL where tokens are given")
        asked = challenge.parameters.get("scope") or scope
        key = (realm, challenge.parameters.get("service", ""), asked)
        token = self._fetch(key, credentials)
        with self._lock:
            self._tokens[key] = token
            if len(self._known) > 4096:
                self._known.clear()
            self._known[scope] = key
        return {"Authorization": f"Bearer {token.value}"}

    def _fetch(self, key: _Key, credentials: Credentials | None) -> _Token:
        realm, service, scope = key
        query = {"service": service, "scope": scope}
        if credentials and credentials.refresh:
            form = {"grant_type": "refresh_token", "refresh_token": credentials.secret}
            data = {**query, **form, "client_id": "distserver"}
            answer = self._transfer.send("POST", realm, {}, data)
        else:
            headers = {"Authorization": credentials.basic} if credentials else {}
            separator = "&" if "?" in realm else "?"
            answer = self._transfer.send("GET", realm + separator + urlencode(query), headers)
        with answer:
            if error := error_of(answer):
                raise error
            return _token(answer.read_limited(MAX_ERROR_BYTES))


def _token(body: bytes) -> _Token:
    try:
        fields = dict(json.loads(body))
        value = fields.get("token") or fields["access_token"]
        life = float(fields.get("expires_in") or DEFAULT_LIFE_SECONDS)
    except (
        ArithmeticError,
        AttributeError,
        KeyError,
        RecursionError,
        TypeError,
        ValueError,
    ) as exc:
        raise UpstreamUnavailable("the token server's answer is no token") from exc
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise UpstreamUnavailable("the token server's answer is no token")
    return _Token(value, min(max(life, 1.0), MAX_LIFE_SECONDS))
