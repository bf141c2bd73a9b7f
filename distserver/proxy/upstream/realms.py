"""Where credentials may go: the upstream's own host, and token realms that belong to it. Pure.

A realm is named by whoever answers as the upstream; without this rule a forged answer gets the
password (CVE-2026-33540).
"""

from __future__ import annotations

import functools
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from publicsuffixlist import PublicSuffixList

SHARED = ("azurecr.io", "jfrog.io", "aliyuncs.com", "amazonaws.com", "ocir.io")
"""Domains whose hosts belong to different customers, which the public suffix list does not say."""
PORTS = {"http": 80, "https": 443}


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL. Raises: ValueError if it is none for us."""
    parts: SplitResult = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname or parts.username is not None:
        raise ValueError("not an http or https URL")
    return parts.scheme, parts.hostname.lower(), parts.port or PORTS[parts.scheme]


def may_be_asked(upstream_url: str, realm: str) -> bool:
    """Whether a token may be asked for there without credentials.

    By the upstream's scheme, or https. Some registries leave tokens to others, lscr.io to ghcr.io.
    """
    try:
        return origin(realm)[0] in ("https", origin(upstream_url)[0])
    except ValueError:
        return False


def may_have_credentials(upstream_url: str, realm: str, extra_hosts: tuple[str, ...] = ()) -> bool:
    """Whether a token realm may see the credentials of an upstream.

        extra_hosts  hosts that the configuration allows beside
    The realm needs the upstream's scheme or https, and its host: the same, one of the same domain
    (auth.docker.io for registry-1.docker.io), the domain itself (gitlab.com for
    registry.gitlab.com), or one that is listed.
    """
    if not may_be_asked(upstream_url, realm):
        return False
    host, realm_host = origin(upstream_url)[1], origin(realm)[1]
    if realm_host == host or realm_host in extra_hosts:
        return True
    domain = _domain(host)
    return domain is not None and (realm_host == domain or realm_host.endswith(f".{domain}"))


def _domain(host: str) -> str | None:
    """The domain that a host's owner holds, as far as names tell; None where they do not."""
    try:
        ip_address(host)
    except ValueError:
        shared = any(f".{host}".endswith(f".{domain}") for domain in SHARED)
        return None if shared else _suffixes().privatesuffix(host)
    return None


@functools.cache
def _suffixes() -> PublicSuffixList:
    """The list of domains under which anyone can have a name; read when it is first needed."""
    return PublicSuffixList()
