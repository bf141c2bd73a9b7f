"""All checks of the doctor, in the order of their findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from distserver.nodes.doctor import clock, images, pulling, server, storage
from distserver.nodes.doctor.facts import Facts
from distserver.nodes.doctor.findings import Finding, stop, warn
from distserver.nodes.node import NodeError
from distserver.oci.errors import RegistryError

Check = Callable[[Facts], Iterator[Finding]]

OF_A_SERVER: tuple[Check, ...] = (
    server.started_at_boot,
    storage.identity,
    storage.room,
    storage.state_disk,
    server.certificate,
    server.mode,
)
OF_A_NODE: tuple[Check, ...] = (
    clock.clock,
    pulling.pulling,
    pulling.config_path,
    storage.disks,
    server.answers,
    images.pause,
    images.needed,
)


def examine(facts: Facts) -> Iterator[Finding]:
    """Run all checks that make sense for the node."""
    if facts.serves:
        yield from _run(OF_A_SERVER, facts)
    else:
        yield warn(
            "no server of ours is on this node",
            "that is well for a node that pulls from another",
            "distserver init; systemctl enable distserver    (if one is meant to be here)",
        )
    yield from _run(OF_A_NODE, facts)


def _run(checks: tuple[Check, ...], facts: Facts) -> Iterator[Finding]:
    """A check that cannot read what it needs says so; the others go on."""
    for check in checks:
        try:
            yield from check(facts)
        except (NodeError, OSError, RegistryError, ValueError) as exc:
            why = "what cannot be looked at may be wrong"
            yield stop(f"{check.__name__}: {exc}", why, "look at this file, run as root")
