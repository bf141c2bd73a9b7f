"""All upstreams of the fault table, one server of ours before them, and the clients of a node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clients.containerd import Containerd, mirrored, running_containerd
from tests.live import Server, running, start_server
from tests.upstreams import acts, cuts
from tests.upstreams.certificates import certificate
from tests.upstreams.faults import LAYER_BYTES, Fault
from tests.upstreams.images import make, push
from tests.upstreams.names import NameServer, asking, name_server
from tests.upstreams.proxy import Rule, fault_proxy
from tests.upstreams.registries import Registry, registry
from tests.upstreams.site import Helpers, Site
from tests.upstreams.skopeo import Skopeo

STATES = ("held", "cold", "half")
ENVIRONMENT = {"DISTSERVER_TAG_TTL_SECONDS": "0", "DISTSERVER_THREADS": "64"}
"""Tags are asked for each time; and no fault of one row waits for a thread that another holds."""


@dataclass(frozen=True)
class World:
    """sites by fault's name and state."""

    ours: Server
    registry: Registry
    containerd: Containerd
    skopeo: Skopeo
    sites: Mapping[tuple[str, str], Site]


@contextmanager
def world(directory: Path, faults: Sequence[Fault], command: str) -> Iterator[World]:
    """Run all that the table needs.

    command  of the upstream registry
    """
    with ExitStack() as stack:
        upstream = stack.enter_context(registry(directory / "upstream", command))
        names = stack.enter_context(name_server())
        helpers = _helpers(stack, directory, upstream)
        sites = {
            (fault.name, state): _site(stack, fault, state, (upstream, names, helpers))
            for fault in faults
            for state in STATES
        }
        ours = stack.enter_context(running(_ours(directory / "ours", names, sites.values())))
        node = stack.enter_context(running_containerd(directory / "c"))
        node.hosts("_default", mirrored(ours.url, ours.url))
        skopeo = Skopeo(directory / "skopeo", ours.host)
        yield World(ours, upstream, node, skopeo, sites)


def _helpers(stack: ExitStack, directory: Path, upstream: Registry) -> Helpers:
    good, bad = (certificate(directory, name) for name in ("good", "bad"))
    elsewhere, cdn, mute = (stack.enter_context(fault_proxy(upstream.address)) for _ in range(3))
    other_host, evil = (
        stack.enter_context(fault_proxy(upstream.address, f"127.0.0.{n}")) for n in (2, 3)
    )
    encrypted = stack.enter_context(fault_proxy(upstream.address, tls=bad.context()))
    cdn.rule(Rule(cuts.expiring(cuts.MIB)))
    mute.rule(Rule(acts.hanging))
    return Helpers(elsewhere, other_host, encrypted, cdn, evil, mute, good, bad)


def _site(
    stack: ExitStack, fault: Fault, state: str, parts: tuple[Registry, NameServer, Helpers]
) -> Site:
    upstream, names, helpers = parts
    tls = helpers.good.context() if fault.scheme == "https" else None
    proxy = stack.enter_context(fault_proxy(upstream.address, tls=tls))
    repository = f"{fault.name}/{state}"
    image = make(repository, LAYER_BYTES)
    push(image, upstream.url, repository)
    name = f"{fault.name}.{state}.site"
    return Site(name, repository, image, fault.scheme, proxy, names, helpers)


def _ours(directory: Path, names: NameServer, sites: Sequence[Site]) -> Server:
    directory.mkdir()
    config = directory / "config.toml"
    config.write_text("".join(site.table for site in sites))
    arguments = ("--workers", "2", "--config", str(config))
    before = asking(directory, names)
    return start_server(directory, *arguments, env=ENVIRONMENT, before=before)
