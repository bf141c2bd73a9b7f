"""containerd's hosts.toml: where the images of a registry, or of all others, are pulled from. Pure.

`dial_timeout` is read by containerd 2.0.7, 2.1 and later; older ones pass over it and wait up to
30 s for a host that drops packets, at each object. A host that refuses costs nothing with any.
containerd 1.6 passes over a file without a table [host], so the server is always a host as well.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence

from distserver.nodes.endpoints import Endpoint, endpoints_of
from distserver.nodes.plan import HEAD, Wish

DIAL = "1s"
"""Long enough for a lost packet on a site's network, short enough for five objects in a row."""


def render(wish: Wish, ca_path: str) -> str:
    """Return the text of a hosts.toml."""
    lines = [HEAD]
    if wish.only:
        # The registry itself would come last; so what is last is a server of ours, once more.
        last = wish.endpoints[-1]
        lines.append(f'server = "{last}"\n{_options(wish, last, ca_path)}')
    for endpoint in wish.endpoints:
        lines.append(f'\n[host."{endpoint}"]\ncapabilities = ["pull", "resolve"]\n')
        lines.append(_options(wish, endpoint, ca_path))
    return "".join(lines)


def _options(wish: Wish, endpoint: Endpoint, ca_path: str) -> str:
    ca = f'ca = "{ca_path}"\n' if endpoint in wish.secured else ""
    return f'dial_timeout = "{DIAL}"\n{ca}'


def read(text: str) -> Sequence[Endpoint]:
    """Return the hosts of a hosts.toml, in order. Raises: ValueError."""
    hosts = tomllib.loads(text).get("host", {})
    return endpoints_of(hosts) if isinstance(hosts, dict) else ()
