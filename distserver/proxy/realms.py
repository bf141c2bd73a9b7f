"""Where credentials may go: the upstream's own host, and token realms that belong to it. Pure.

A realm is named by whoever answers as the upstream; without this rule a forged answer gets the
password (CVE-2026-33540).
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

_SECOND_LEVEL = frozenset(("co", "com", "net", "org", "gov", "gob", "ac", "edu", "or", "ne", "go"))
PORTS = {"http": 80, "https": 443}


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL. Raises: ValueError if it is none for us."""
    parts: SplitResult = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname or parts.username is not None:
        raise ValueError("not an http or https URL")
    return parts.scheme, parts.hostname.lower(), parts.port or PORTS[parts.scheme]


def may_have_credentials(upstream_url: str, realm: str, extra_hosts: tuple[str, ...] = ()) -> bool:
    """Whether a token realm may see the credentials of an upstream.

        extra_hosts  hosts that the configuration allows beside
    The realm needs the upstream's scheme or https, and its host: the same, one of the same domain
    (auth.docker.io for registry-1.docker.io), the domain itself (gitlab.com for
    registry.gitlab.com), or one that is listed.
    """
    try:
        scheme, host, _ = origin(upstream_url)
        realm_scheme, realm_host, _ = origin(realm)
    except ValueError:
        return False
    if realm_scheme not in ("https", scheme):
        return False
    if realm_host == host or realm_host in extra_hosts:
        return True
    domain = _domain(host)
    return domain is not None and (realm_host == domain or realm_host.endswith(f".{domain}"))


def _domain(host: str) -> str | None:
    """The domain that a host's owner holds, as far as names tell; None where they do not."""
    labels = host.split(".")
    if len(labels) < 3 or labels[-1].isdigit():
        return None
    parent = labels[1:]
    is_suffix = len(parent) == 2 and len(parent[1]) == 2 and parent[0] in _SECOND_LEVEL
    return None if is_suffix else ".".join(parent)
